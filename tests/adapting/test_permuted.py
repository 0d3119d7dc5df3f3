"""Dimensions in another order: numpy is the oracle; there and back; JSON."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
import torch

from torchgraft import AdaptError
from torchgraft.adapting import Permuted, op_from_json


@pytest.mark.parametrize("axes", [axes for rank in range(5) for axes in permutations(range(rank))])
def test_as_numpy_and_back(axes):
    op, shape = Permuted(axes), tuple(range(2, 2 + len(axes)))
    tensor = torch.rand(shape)
    result = op.apply(tensor)
    assert np.array_equal(result.numpy(), np.transpose(tensor.numpy(), axes))
    assert op.shape(shape) == tuple(result.shape)
    assert torch.equal(op.invert(result), tensor)
    assert torch.equal(op.inverse.apply(result), tensor)
    assert op.inverse.inverse == op
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op


def test_nothing_is_copied():
    tensor = torch.rand(3, 4)
    assert Permuted((1, 0)).apply(tensor).data_ptr() == tensor.data_ptr()


@pytest.mark.parametrize("axes", [(0, 0), (1, 2), (0, 2), (-1, 0)])
def test_no_order(axes):
    with pytest.raises(AdaptError, match="no order of 2 dimensions"):
        Permuted(axes)


def test_another_rank():
    for use in (Permuted((1, 0)).apply, Permuted((1, 0)).invert):
        with pytest.raises(AdaptError, match="has not 2 dimensions"):
            use(torch.rand(2, 2, 2))


@pytest.mark.parametrize("data", [{}, {"axes": 3}, {"axes": ["x"]}, {"axes": [0, 5]}])
def test_damaged_json(data):
    with pytest.raises(AdaptError):
        op_from_json({"op": "permute", **data})


def test_in_words():
    assert (Permuted((1, 0)).describe(), Permuted((0, 2, 1)).describe()) == (
        "transposed",
        "dimensions 0, 2, 1",
    )
