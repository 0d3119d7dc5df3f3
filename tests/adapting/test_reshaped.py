"""The same numbers in other brackets: numpy is the oracle; there and back; JSON; what shapes may decide."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from torchgraft import AdaptError
from torchgraft.adapting import Change, Pointwise, Reshaped, find_ops, op_from_json

SHAPES = [
    ((1, 5, 4), (5, 4)),
    ((8,), (2, 4)),
    ((2, 3, 4), (6, 4)),
    ((), (1,)),
    ((4, 6), (2, 2, 6)),
    ((0, 3), (0,)),
]


@pytest.mark.parametrize(("source", "target"), [*SHAPES, *((b, a) for a, b in SHAPES)])
@pytest.mark.parametrize("turned", [False, True])
def test_as_numpy_and_back(source, target, turned):
    op = Reshaped(source, target)
    tensor = torch.rand(source)
    if turned:  # not contiguous
        tensor = torch.rand(source[::-1]).permute(tuple(range(len(source)))[::-1])
    result = op.apply(tensor)
    assert np.array_equal(result.numpy(), np.reshape(tensor.numpy(), target))
    assert op.shape(source) == target
    assert torch.equal(op.invert(result), tensor)
    assert torch.equal(op.inverse.apply(result), tensor)
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op


def test_other_sizes_are_refused():
    with pytest.raises(AdaptError, match="not as many elements"):
        Reshaped((2, 3), (5,))
    with pytest.raises(AdaptError, match=r"a tensor of shape \[3, 2\]"):
        Reshaped((2, 3), (6,)).apply(torch.rand(3, 2))
    with pytest.raises(AdaptError):
        Reshaped((2, 3), (6,)).invert(torch.rand(2, 3))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((1, 197, 8), (197, 8), (Reshaped((1, 197, 8), (197, 8)),)),
        ((8,), (1, 8, 1, 1), (Reshaped((8,), (1, 8, 1, 1)),)),
        ((8, 3), (8, 3, 1, 1), (Pointwise(0, 2),)),
    ],
)
def test_ones_are_all_that_shapes_decide(source, target, expected):
    assert find_ops(Change(source, target, "body")) == expected


@pytest.mark.parametrize(
    ("source", "target"), [((2, 4), (8,)), ((2, 4), (4, 2)), ((3, 8), (8, 3)), ((6, 4), (4, 6))]
)
def test_nothing_else_is(source, target):
    with pytest.raises(AdaptError, match="no rule"):
        find_ops(Change(source, target, "body"))
