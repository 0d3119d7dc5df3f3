"""The loops of a script give exactly the moves they were made of, whatever the names; ops as PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchgraft.adapting import (
    Block,
    CopiedChannels,
    Deflated,
    Inflated,
    InputChannels,
    MergedRows,
    Permuted,
    Pointwise,
    Reshaped,
    Rows,
)
from torchgraft.planning.script_lines import lines_of
from torchgraft.planning.script_loops import loops, values
from torchgraft.planning.script_moves import Move, slot
from torchgraft.planning.script_ops import spelled

WORDS = (
    "layer",
    "conv1",
    "b.0",
    "blocks.",
    "weight",
    "a{b}",
    "it's",
    '"',
    "\\n",
    "\n",
    "{leaf}",
    "{i}",
    "7",
    "é/x",
    "",
)
NAMES = st.lists(st.sampled_from(WORDS) | st.integers(0, 30).map(str), min_size=1, max_size=5).map(".".join)


def carried_out(moves: list[Move]) -> dict[str, Any]:
    """What the script makes of a source that holds, for each name, the name."""
    text = "\n".join(loops(lines_of(moves)))
    names = {source: source for move in moves for source in move.sources}
    scope = {"source": names, "target": {}, "torch": type("Joins", (), {"cat": staticmethod(tuple)})}
    exec(compile(text, "script", "exec"), scope)
    return scope["target"]


def expected(moves: list[Move]) -> dict[str, Any]:
    return {move.target: move.sources[0] if move.plain else move.sources for move in moves}


def plain(target: str, source: str) -> Move:
    return Move(target, (source,), (slot(0),))


def joined(target: str, *sources: str) -> Move:
    return Move(target, sources, ("torch.cat([", *(slot(i) for i in range(len(sources))), "])"))


@given(st.dictionaries(NAMES, NAMES, min_size=1, max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_names(pairs):
    moves = [plain(target, source) for target, source in pairs.items()]
    assert carried_out(moves) == expected(moves)


@given(
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=40),
    st.integers(-3, 3),
    st.integers(1, 3),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_numbers(numbers, shift, steps, flat):
    """Stages of any depth, numbered from anywhere, with a step, or through all stages."""
    moves = []
    for place, (i, j, k) in enumerate(sorted(numbers)):
        block = place if flat else f"{i + 5 + shift}.{steps * j}"
        leaves = ("weight", "bias", "scale")
        moves += [plain(f"stage{i}.{j}.conv{k}.{leaf}", f"x.{block}.c{k}.{leaf}") for leaf in leaves]
        moves.append(joined(f"stage{i}.{j}.{k}.qkv", f"x.{block}.q{k}", f"x.{block}.k{k}"))
    assert carried_out(moves) == expected(moves)


def test_regular_blocks_are_one_loop():
    moves = [
        plain(f"layer{i}.{j}.w", f"s.{i - 1}.{j}.w") for i, n in enumerate((3, 4, 2), 1) for j in range(n)
    ]
    assert list(loops(lines_of(moves))) == [
        "for i, count in enumerate((3, 4, 2), 1):",
        "    for j in range(count):",
        '        target[f"layer{i}.{j}.w"] = source[f"s.{i - 1}.{j}.w"]',
    ]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([0, 1, 2], "range(3)"),
        ([3, 4], "range(3, 5)"),
        ([0, 3, 6], "range(0, 7, 3)"),
        ([0, 3], "(0, 3)"),
        ([1, 2, 5], "(1, 2, 5)"),
        ([7], "(7,)"),
    ],
)
def test_what_is_looped_over(numbers, text):
    assert values(numbers) == text
    assert list(eval(text)) == numbers


MODES = ["repeat", "mean", "sum", (2, "mean", "zeros", 0, 1)]
OPS = [
    (Permuted((3, 2, 0, 1)), (3, 3, 4, 6)),
    (Permuted((1, 0)), (3, 4)),
    (Reshaped((1, 6, 4), (6, 4)), (1, 6, 4)),
    (Reshaped((1, 1), ()), (1, 1)),
    (Reshaped((4, 3, 5, 5), (12, 1, 5, 5)), (4, 3, 5, 5)),
    (Pointwise(0, 2), (4, 3)),
    (Pointwise(2, 0), (4, 3, 1, 1)),
    (Pointwise(1, 2), (4, 3, 1)),
    (Block(4, 8, 12), (12, 3)),
    (Block(2, 8, 12), (12,)),
    (Block(8, 12, 12), (12, 3)),
    (Block(0, 8, 12), (12, 3)),
    (Rows((2, 0, 0), 4), (4, 3)),
    *((InputChannels(3, 5, mode), (4, 3, 2, 2)) for mode in (*MODES, "zeros")),
    *((InputChannels(3, 1, mode), (4, 3, 2)) for mode in MODES[:3]),
    *((InputChannels(3, 2, mode), (4, 3)) for mode in MODES[:3]),
]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize(("op", "shape"), OPS, ids=[str(i) for i in range(len(OPS))])
def test_an_op_is_spelled_as_it_is_done(op, shape, dtype):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    text = spelled(op, "tensor", shape, dtype)
    made = eval(text, {"torch": torch, "tensor": tensor})
    wanted = op.apply(tensor)
    assert (made.dtype, made.shape) == (wanted.dtype, wanted.shape)
    assert torch.equal(made, wanted)


MODES = [
    (Rows((1, None, 0, None), 3, "mean"), (3, 4)),
    (Rows((1, None, 0, None), 3, "mean"), (3,)),
    (Rows((None, 2), 3, "zeros"), (3, 4)),
    (Rows((None, 2), 3, "zeros"), (3,)),
    (Rows((None, 2), 3, "mean-cov"), (3, 4)),
    (Rows((None, 2), 3, "mean-cov"), (3,)),
    (Rows((None, 2), 3, "mean-cov"), (3, 4, 1, 1)),
    (MergedRows(((0, 2), (1,)), 3), (3, 4)),
    (MergedRows(((0, 2), (1,)), 3), (3,)),
    (MergedRows(((0, 2), (1,)), 3, "average"), (3,)),
    (InputChannels(3, 4, "keep-scale"), (5, 3, 2, 2)),
    (InputChannels(3, 2, "keep-scale"), (5, 3)),
    (InputChannels(3, 3, (0, "mean", (0.25, 0.5))), (5, 3, 2, 2)),
    (CopiedChannels(InputChannels(3, 4, "keep-scale"), 4, together=True), (5, 12)),
    (Inflated(3), (5, 3, 2, 2)),
    (Inflated(4, "centre"), (5, 3, 2, 2)),
    (Deflated(3), (5, 3, 3, 2, 2)),
    (Deflated(3, "centre"), (5, 3, 3, 2, 2)),
]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize(("op", "shape"), MODES, ids=[str(i) for i in range(len(MODES))])
@pytest.mark.parametrize("unit", [False, True])
def test_a_mode_is_spelled_as_it_is_done(op, shape, unit, dtype):
    """Up to rounding: sums are made in another order."""
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if unit and len(shape) > 1:
        tensor = tensor / tensor.flatten(1).norm(dim=1).reshape(-1, *(1,) * (len(shape) - 1))
    tensor = tensor.to(getattr(torch, dtype))
    text = spelled(op, "tensor", shape, dtype)
    made = eval(text, {"torch": torch, "tensor": tensor})
    wanted = op.apply(tensor)
    assert (made.dtype, made.shape) == (wanted.dtype, wanted.shape)
    near = 2e-3 if dtype == "float16" else 1e-6
    torch.testing.assert_close(made, wanted, rtol=near, atol=near)


def test_what_needs_the_models_own_values_has_no_spelling():
    assert spelled(Rows((0, None), 3), "tensor", (3,), "float32") is None
