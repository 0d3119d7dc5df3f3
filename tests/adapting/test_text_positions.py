"""Positions in a line: indexing and torch's linear interpolation are the oracles; back; JSON."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional

from torchgraft import AdaptError
from torchgraft.adapting import Change, TextPositions, find_ops, op_from_json
from torchgraft.adapting.places import Line, PositionPlace

TABLE = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("length", [12, 30, 25, 5])
@pytest.mark.parametrize("offset", [0, 2])
def test_repeat_is_longformers(length, offset):
    op = TextPositions(Line(12 - offset, offset), Line(length, offset))
    new = op.apply(TABLE)
    assert torch.equal(new[:offset], TABLE[:offset])
    for row in range(length):
        assert torch.equal(new[offset + row], TABLE[offset + row % (12 - offset)])
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op
    if length >= 12:
        assert torch.equal(op.invert(new), TABLE)


@pytest.mark.parametrize("length", [30, 5])
def test_linear_is_torchs(length):
    op = TextPositions(Line(12), Line(length), "linear")
    theirs = functional.interpolate(TABLE.t()[None], length, mode="linear")[0].t()
    torch.testing.assert_close(op.apply(TABLE), theirs)
    torch.testing.assert_close(op.apply(TABLE[None]), theirs[None])
    if length == 30:
        torch.testing.assert_close(op.invert(op.apply(TABLE)), TABLE)
    else:
        with pytest.raises(AdaptError, match="more positions"):
            op.invert(op.apply(TABLE))


def test_first_leaves_the_models_own():
    op = TextPositions(Line(10, 2), Line(18, 2), "first")
    own = torch.randn(20, 4)
    assert op.needs_base
    assert torch.equal(op.apply(TABLE, own), torch.cat([TABLE, own[12:]]))
    with pytest.raises(AdaptError, match="8 rows have nothing to take them from"):
        op.apply(TABLE)
    assert not TextPositions(Line(10), Line(4), "first").needs_base


def test_dropped_rows_come_from_the_base():
    op = TextPositions(Line(12), Line(5))
    short = op.apply(TABLE)
    with pytest.raises(AdaptError, match="7 rows were dropped"):
        op.invert(short)
    assert torch.equal(op.invert(short, TABLE), TABLE)


def test_found_by_its_place():
    place = PositionPlace(Line(1024))
    (op,) = find_ops(Change((512, 8), (1024, 8), "position", place=place))
    assert op.describe() == "positions 512→1024, repeat"
    assert op.effect == "texts of up to 512 tokens see the same positions"
    (op,) = find_ops(Change((514, 8), (258, 8), "position", place=PositionPlace(Line(256, 2))))
    assert op == TextPositions(Line(512, 2), Line(256, 2))
    assert op.with_mode("linear").effect == "texts see stretched positions"


def test_what_does_not_fit():
    with pytest.raises(AdaptError, match="counts from 2, the model from 0"):
        TextPositions(Line(3, 2), Line(3))
    with pytest.raises(AdaptError, match="a table of shape"):
        TextPositions(Line(3), Line(5)).apply(TABLE)
    with pytest.raises(AdaptError, match="no such mode"):
        TextPositions(Line(3), Line(5), "cubic")
