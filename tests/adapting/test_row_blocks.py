"""Rows in blocks, against the same change made on a tensor that has an axis for each of them."""

from __future__ import annotations

import pytest
import torch

from torchgraft import AdaptError
from torchgraft.adapting import Change, RowBlocks, RowMap, find_ops

LAYOUTS = [(1, 1), (1, 4), (3, 1), (2, 3)]


@pytest.mark.parametrize(("outer", "inner"), LAYOUTS)
@pytest.mark.parametrize("rows", [(2, 0), (None, 1, None, 3), (0, 1, 2, 3), (3,), (None, None)])
def test_expanded(outer, inner, rows):
    blocks = RowBlocks(outer, inner)
    old = torch.arange(outer * 4 * inner).reshape(outer, 4, inner)
    wanted = [
        -1 if row is None else old[place, row, part]
        for place in range(outer)
        for row in rows
        for part in range(inner)
    ]
    found = blocks.expanded(RowMap(rows, 4))
    assert [-1 if row is None else row for row in found.rows] == wanted
    assert found.source_rows == old.numel()


@pytest.mark.parametrize(("outer", "inner"), LAYOUTS)
def test_sizes(outer, inner):
    blocks = RowBlocks(outer, inner)
    assert blocks.classes(blocks.rows(7)) == 7
    if blocks.size > 1:
        with pytest.raises(AdaptError, match="are no multiple of"):
            blocks.classes(blocks.rows(7) + 1)


@pytest.mark.parametrize("mode", ["mean", "mean-cov", "zeros"])
@pytest.mark.parametrize("shape", [(5,), ()])
def test_what_is_no_score_is_averaged_part_by_part(mode, shape):
    """A box has no prior and no probability: merged and new classes get the mean, in any mode."""
    boxes = RowBlocks(inner=4, scores=False)
    old = torch.rand(3 * 4, *shape)
    change = Change((12, *shape), (12, *shape), "head", {"rows": mode}, rows=RowMap.of([(0, 2), None, 1], 3))
    new = old
    for op in find_ops(boxes.applied(change)):
        new = op.apply(new)
    by_class = old.view(3, 4, *shape)
    wanted = torch.stack([by_class[[0, 2]].mean(0), by_class.mean(0), by_class[1]])
    assert torch.allclose(new.view(3, 4, *shape), wanted)


def test_a_new_box_starts_as_the_model_makes_it_unless_told():
    change = Change((8, 2), (8, 2), "head", rows=RowMap((1, None), 2))
    applied = RowBlocks(inner=4, scores=False).applied(change)
    assert applied.rows is not None
    assert applied.rows.rows == (4, 5, 6, 7, None, None, None, None)
