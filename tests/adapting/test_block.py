"""Rows out of a fused weight: numpy is the oracle; back into it; JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchgraft import AdaptError
from torchgraft.adapting import Block, op_from_json


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.integers(1, n), st.just(n))))
def test_as_numpy_and_back(bounds):
    start, stop, rows = bounds
    if start >= stop:
        return
    op, whole = Block(start, stop, rows), torch.rand(rows, 3)
    part = op.apply(whole)
    assert np.array_equal(part.numpy(), whole.numpy()[start:stop])
    assert op.shape((rows, 3)) == (stop - start, 3)
    changed = op.invert(part + 1, whole)
    assert torch.equal(changed[start:stop], part + 1)
    untouched = [row for row in range(rows) if not start <= row < stop]
    assert torch.equal(changed[untouched], whole[untouched])
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op


def test_three_blocks_are_all_of_it():
    whole = torch.rand(12, 5)
    parts = [Block(at, at + 4, 12).apply(whole) for at in (0, 4, 8)]
    assert torch.equal(torch.cat(parts), whole)
    assert all(part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr() for part in parts)


def test_the_base_is_left_as_it_was():
    base = torch.zeros(4, 2)
    Block(1, 2, 4).invert(torch.ones(1, 2), base)
    assert not base.any()


@pytest.mark.parametrize(("start", "stop", "rows"), [(-1, 2, 4), (2, 2, 4), (3, 2, 4), (0, 5, 4)])
def test_no_such_rows(start, stop, rows):
    with pytest.raises(AdaptError, match="no rows"):
        Block(start, stop, rows)


def test_what_does_not_fit():
    op = Block(0, 2, 4)
    with pytest.raises(AdaptError, match="a tensor of shape"):
        op.apply(torch.rand(5, 2))
    with pytest.raises(AdaptError, match="other rows are unknown"):
        op.invert(torch.rand(2, 2))
    with pytest.raises(AdaptError, match="does not fit"):
        op.invert(torch.rand(3, 2), torch.rand(4, 2))
    with pytest.raises(AdaptError):
        op_from_json({"op": "block", "start": 0, "stop": 9, "rows": 4})
