"""Positions, biases and patches as PyTorch: the expression gives what the op gives, in every mode."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch

from torchgraft.adapting import PatchKernel, Positions, RelativePositions, SinePositions, TextPositions
from torchgraft.adapting.places import Grid, Line, Window
from torchgraft.planning.script_ops import spelled

MODES = ["bicubic", "bilinear", "nearest", "interpolate", "corners"]
RELATIVE = ["geometric", "interpolate", "bicubic", "bilinear"]

CASES: list[tuple[Any, tuple[int, ...]]] = [
    *((Positions(Grid(3, 3, 1), Grid(4, 5, 1), (0,), mode=mode), (1, 10, 4)) for mode in MODES),
    (Positions(Grid(3, 3, 2, 1), Grid(5, 4, 3, 2), (1, None, 0)), (12, 4)),
    (Positions(Grid(3, 3), Grid(3, 3, 1), (None,)), (1, 9, 4)),
    (Positions(Grid(3, 4), Grid(5, 6), layout="last"), (1, 3, 4, 7)),
    (Positions(Grid(3, 4), Grid(5, 6), layout="first"), (7, 3, 4)),
    *((TextPositions(Line(5, 2), Line(9, 2), mode), (7, 4)) for mode in ("repeat", "linear")),
    (TextPositions(Line(5), Line(3)), (1, 5, 4)),
    *(
        (RelativePositions(Window(3, 3, extra), Window(4, 6, extra), mode), (25 + extra, 2))
        for mode in RELATIVE
        for extra in (0, 3)
    ),
    (RelativePositions(Window(3, 3), Window(2, 2)), (2, 5, 5)),
    *((PatchKernel((4, 4), (6, 3), mode), (2, 3, 4, 4)) for mode in ("pinv", "bicubic", "bilinear")),
    *((PatchKernel((4, 4), (6, 6), "pinv", order), (2, 48)) for order in permutations(range(3))),
]


@pytest.mark.parametrize(("op", "shape"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_as_the_op(op, shape, dtype):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    text = spelled(op, 'source["x"]', shape, dtype)
    assert text is not None
    made = eval(text, {"torch": torch, "source": {"x": tensor}})
    expected = op.apply(tensor)
    assert made.dtype == expected.dtype
    torch.testing.assert_close(made, expected, atol=1e-5 if dtype == "float32" else 2e-3, rtol=0)


@pytest.mark.parametrize(
    "op",
    [
        SinePositions("rows-columns", Grid(2, 2, 1), Grid(3, 4, 1)),
        SinePositions("columns-rows-inclusive", Grid(2, 2), Grid(3, 4, 1)),
        SinePositions("halves", Line(4), Line(7)),
        SinePositions("interleaved", Line(4), Line(7)),
    ],
)
def test_sines(op):
    back = type(op)(op.formula, op.target, op.source)
    old = back.apply(torch.empty(1, op.target.tokens, 16, device="meta"))
    assert old.shape[1] == op.source.tokens
    grid = isinstance(op.source, Grid)
    one = SinePositions(op.formula, Grid(1, 1) if grid else Line(1), op.source)
    start = torch.tensor([0.0] * 4 + [1.0] * 4) if grid else torch.tensor([0.0] * 8 + [1.0] * 8)
    start = torch.tensor([0.0, 1.0] * 8) if op.formula == "interleaved" else start
    tensor = one.apply((start.repeat(2) if grid else start)[None, None])
    made = eval(spelled(op, "x", tuple(tensor.shape), "float32"), {"torch": torch, "x": tensor})
    torch.testing.assert_close(made, op.apply(tensor))
