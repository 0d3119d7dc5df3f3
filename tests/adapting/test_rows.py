"""Classifier rows by class name, and Linear as a 1x1 convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchgraft import AdaptError
from torchgraft.adapting import Change, Pointwise, RowMap, Rows, find_ops, match_labels, op_from_json


@pytest.mark.parametrize(
    ("source", "target", "rows"),
    [
        (["a", "b"], ["b", "c", "a"], (1, None, 0)),
        (["Great White-shark"], ["great_white shark"], (0,)),
        (["tench, Tinca tinca", "goldfish"], ["tinca tinca", "Goldfish"], (0, 1)),
        (["crane, bird", "crane"], ["crane"], (1,)),
        (["crane", "crane", "x"], ["x"], (2,)),
        (["crane", "crane"], ["crane", "crane"], (0, 1)),
        (["a"], ["b"], (None,)),
    ],
)
def test_labels(source, target, rows):
    assert match_labels(source, target).rows == rows


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (["crane", "crane", "x"], ["crane"], "fits several classes"),
        (["a", "b"], ["c", "C"], "have the same name"),
        (["tench, Tinca tinca"], ["tench", "tinca tinca"], "both name"),
    ],
)
def test_unsure_labels(source, target, message):
    with pytest.raises(AdaptError, match=message):
        match_labels(source, target)


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=8))
def test_rows(rows):
    source = torch.arange(12.0).reshape(6, 2)
    base = -torch.arange(1.0, 2 * len(rows) + 1).reshape(-1, 2)
    op = Rows(tuple(rows), 6)
    new = op.apply(source, base)
    for place, row in enumerate(rows):
        assert torch.equal(new[place], base[place] if row is None else source[row])
    assert torch.equal(op.invert(new, source), source)
    assert op_from_json(op.to_json()) == op


def test_rows_without_a_source_need_a_base():
    with pytest.raises(AdaptError, match="1 of 2 rows have nothing"):
        Rows((0, None), 1).apply(torch.ones(1, 2))
    with pytest.raises(AdaptError, match="no classifier row 3"):
        Rows((3,), 2)
    assert Rows((0, None), 1).apply(torch.ones(1, 2).half(), torch.full((2, 2), 0.1)).dtype == torch.float32


def test_linear_as_convolution_with_other_classes():
    linear = torch.arange(6.0).reshape(3, 2)
    ops = find_ops(Change((3, 2), (2, 2, 1, 1), "head", rows=RowMap((2, 0), 3)))
    assert [op.name for op in ops] == ["pointwise", "rows"]
    new = linear
    for op in ops:
        new = op.apply(new)
    assert torch.equal(new, linear[[2, 0], :, None, None])
    assert torch.equal(Pointwise(0, 2).invert(new), new[:, :, 0, 0])
    assert all(op_from_json(op.to_json()) == op for op in ops)


@pytest.mark.parametrize(
    ("source", "target", "role", "message"),
    [
        ((3, 2, 3, 3), (3, 2), "head", "no rule"),
        ((3, 2), (4, 2), "body", "head="),
        ((3, 2), (4, 2), "head", "source_labels="),
        ((3, 2), (3, 5), "body", "stem="),
    ],
)
def test_no_rule(source, target, role, message):
    with pytest.raises(AdaptError, match=message):
        find_ops(Change(source, target, role))


@pytest.mark.parametrize(
    "data", [{"op": "eval"}, {}, {"op": "rows"}, {"op": "pointwise", "source": "x", "target": 1}]
)
def test_unreadable_ops(data):
    with pytest.raises(AdaptError):
        op_from_json(data)


def test_equal_shapes_need_nothing():
    assert find_ops(Change((3, 2), (3, 2), "body")) == ()
    assert find_ops(Change((3, 2), (3, 2), "head", rows=RowMap((0, 1, 2), 3))) == ()
    assert len(find_ops(Change((3, 2), (3, 2), "head", rows=RowMap((1, 0, 2), 3)))) == 1
