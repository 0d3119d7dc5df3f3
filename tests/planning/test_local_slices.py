"""Parts of what ops make: held to the whole result, cut; and what is read for them."""

from __future__ import annotations

import itertools

import pytest
import torch

from torchgraft.adapting import (
    Block,
    InputChannels,
    MergedRows,
    Permuted,
    Pointwise,
    Reshaped,
    Rows,
    Vocabulary,
)
from torchgraft.planning.entries import TargetEntry
from torchgraft.planning.local_reading import LocalRead, spans_of
from torchgraft.planning.local_slices import narrowed, shape_of
from torchgraft.tensors import Span, TensorRef

TOKENS = Vocabulary(((0, 2, 3), (4, 6, 1)), 7, 6, "own", 7)

CHAINS = {
    "nothing": ((6, 4), ()),
    "block": ((9, 4), (Block(3, 8, 9),)),
    "transposed": ((6, 4), (Permuted((1, 0)),)),
    "kernel": ((2, 3, 4, 5), (Permuted((3, 2, 0, 1)),)),
    "block of transposed": ((4, 9), (Permuted((1, 0)), Block(3, 8, 9))),
    "ones off": ((1, 6, 4), (Reshaped((1, 6, 4), (6, 4)),)),
    "ones on": ((6, 4), (Reshaped((6, 4), (1, 6, 1, 4, 1)),)),
    "heads together": ((3, 4, 5), (Reshaped((3, 4, 5), (12, 5)),)),
    "heads apart": ((12, 5), (Reshaped((12, 5), (3, 4, 5)),)),
    "other heads": ((4, 3, 5), (Reshaped((4, 3, 5), (6, 2, 5)),)),
    "flat": ((2, 3, 4), (Reshaped((2, 3, 4), (24,)),)),
    "to a number": ((1, 1), (Reshaped((1, 1), ()),)),
    "pointwise": ((6, 4), (Pointwise(0, 2),)),
    "pointwise back": ((6, 4, 1, 1), (Pointwise(2, 0),)),
    "heads of turned": ((5, 12), (Permuted((1, 0)), Reshaped((12, 5), (3, 4, 5)), Permuted((1, 0, 2)))),
    **{
        f"channels {mode}": ((4, 3, 2, 2), (InputChannels(3, 5, mode),))
        for mode in ("repeat", "mean", "sum", "zeros", "keep-scale", (2, 0, "mean", "zeros", (0.5, 0.5)))
    },
    "channels by map": ((4, 3, 2, 2), (InputChannels(3, 3, (2, 0, "zeros")),)),
    "one channel": ((4, 3, 2, 2), (InputChannels(3, 1, "repeat"),)),
    "rows": ((7, 3), (Rows((6, 2, 3, 3, 0), 7),)),
    "rows, some new": ((7, 3), (Rows((6, None, 3, None, 0), 7),)),
    "rows by mean": ((7, 3), (Rows((6, None, 3, None, 0), 7, "mean"),)),
    "rows by mean and covariance": ((7, 3), (Rows((6, None, 3, None, 0), 7, "mean-cov"),)),
    "merged rows": ((7, 3), (MergedRows(((0, 1), (2,), (3, 4, 5)), 7),)),
    "tokens": ((7, 3), (TOKENS,)),
    "tokens by mean": ((7, 3), (Vocabulary(TOKENS.runs, 7, 6, "mean", 7),)),
}


def boxes(shape):
    """Every run along every dimension that is not empty."""
    runs = [[(a, b) for a in range(size) for b in range(a + 1, size + 1)] for size in shape]
    every = list(itertools.product(*runs))
    return every[:: max(1, len(every) // 200)]


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_part_is_that_of_the_whole(chain, dtype):
    shape, ops = CHAINS[chain]
    torch.manual_seed(3)
    source = torch.randn(shape).to(dtype)
    made_shape = shape
    for op in ops:
        made_shape = op.shape(made_shape)
    base = torch.randn(made_shape)
    whole = source
    for op in ops:
        whole = op.apply(whole, base if op.needs_base else None)
    for box in boxes(made_shape):
        index = tuple(slice(*run) for run in box)
        read, steps = narrowed(ops, shape, box)
        value = source[tuple(slice(*run) for run in read)]
        assert tuple(value.shape) == shape_of(read)
        for step in steps:
            value = step(value, base[index])
        if not any(op.needs_base for op in ops):  # the whole is wider for the sake of the model's own rows
            assert value.dtype == whole.dtype
        assert torch.equal(value.to(whole.dtype), whole[index]), (box, read)


@pytest.mark.parametrize(
    ("chain", "box", "read"),
    [
        ("nothing", ((2, 4), (0, 4)), ((2, 4), (0, 4))),
        ("block", ((1, 3), (0, 4)), ((4, 6), (0, 4))),
        ("transposed", ((1, 2), (0, 6)), ((0, 6), (1, 2))),
        ("ones off", ((2, 4), (0, 4)), ((0, 1), (2, 4), (0, 4))),
        ("heads together", ((4, 8), (0, 5)), ((1, 2), (0, 4), (0, 5))),
        ("heads together", ((3, 5), (0, 5)), ((0, 2), (0, 4), (0, 5))),
        ("heads apart", ((1, 2), (0, 4), (0, 5)), ((4, 8), (0, 5))),
        ("channels repeat", ((1, 2), (0, 5), (0, 2), (0, 2)), ((1, 2), (0, 3), (0, 2), (0, 2))),
        ("channels mean", ((1, 2), (0, 5), (0, 2), (0, 2)), ((0, 4), (0, 3), (0, 2), (0, 2))),
        ("rows", ((1, 4), (0, 3)), ((2, 4), (0, 3))),
        ("rows, some new", ((1, 2), (0, 3)), ((0, 0), (0, 3))),
        ("rows by mean", ((0, 1), (0, 3)), ((6, 7), (0, 3))),
        ("rows by mean", ((0, 2), (0, 3)), ((0, 7), (0, 3))),
        ("tokens", ((1, 3), (0, 3)), ((3, 5), (0, 3))),
    ],
)
def test_no_more_is_read(chain, box, read):
    shape, ops = CHAINS[chain]
    assert narrowed(ops, shape, box)[0] == read


class Far:
    """A file far away."""


def test_the_bytes_of_a_part():
    file = Far()
    ref = TensorRef(
        "w", (6, 4), "bfloat16", fetch=lambda _: torch.empty(0), spans=lambda: [Span(file, 100, 48)]
    )
    assert spans_of(ref, ((0, 6), (0, 4))) == [Span(file, 100, 48)]
    assert spans_of(ref, ((2, 4), (0, 4))) == [Span(file, 116, 16)]
    assert spans_of(ref, ((2, 4), (1, 3))) == [Span(file, 118, 12)]
    assert spans_of(ref, ((2, 2), (0, 4))) == []
    stored = TensorRef("w", (6, 4), "bfloat16", fetch=ref.fetch, spans=lambda: [Span(file, 0, 40)])
    assert spans_of(stored, ((2, 4), (0, 4))) == []  # compressed: which bytes these are is not known


def test_zeros_of_a_joined_tensor_are_not_read():
    from torchgraft.matching import Part

    parts = (
        Part("q", (), (4, 3), (4, 3)),
        Part(None, (), (4, 3), (4, 3)),
        Part("v", (Permuted((1, 0)),), (3, 4), (4, 3)),
    )
    entry = TargetEntry(
        "qkv", (12, 3), "float32", False, "body", "adapted", "", "q", (4, 3), "float32", joined=parts
    )
    read = LocalRead.of(entry, ((3, 10), (0, 3)))
    assert [(part.source, part.box) for part in read.parts] == [
        ("q", ((3, 4), (0, 3))),
        (None, ((0, 4), (0, 3))),
        ("v", ((0, 3), (0, 2))),
    ]
