"""Biases of another window: timm's three functions are the oracles; back; JSON; refusals."""

from __future__ import annotations

import json

import pytest
import torch
from timm.layers.pos_embed_rel import (
    resize_rel_pos_bias_table,
    resize_rel_pos_bias_table_levit,
    resize_rel_pos_bias_table_simple,
)
from torch.nn import functional

from torchgraft import AdaptError
from torchgraft.adapting import Change, RelativePositions, find_ops, op_from_json
from torchgraft.adapting.places import Window, WindowPlace

WINDOWS = [(12, 12), (4, 4), (7, 12), (8, 8), (3, 9)]
MODES = ["geometric", "interpolate", "bicubic", "bilinear"]


def table(window: Window) -> torch.Tensor:
    return torch.randn(window.entries, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")  # timm's own code
@pytest.mark.filterwarnings("ignore:torch.searchsorted:UserWarning")
@pytest.mark.parametrize("size", WINDOWS)
@pytest.mark.parametrize("extra", [0, 3])
def test_geometric_is_timms(size, extra):
    old, new = Window(7, 7, extra), Window(*size, extra)
    theirs = resize_rel_pos_bias_table(table(old), size, (new.entries, 3), (7, 7))
    ours = RelativePositions(old, new).apply(table(old))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert torch.equal(ours[new.entries - extra :], table(old)[old.entries - extra :])


@pytest.mark.parametrize("size", WINDOWS)
@pytest.mark.parametrize("extra", [0, 3])
def test_interpolate_is_timms_simple_one_to_the_bit(size, extra):
    old, new = Window(7, 7, extra), Window(*size, extra)
    theirs = resize_rel_pos_bias_table_simple(table(old), size, (new.entries, 3))
    assert torch.equal(RelativePositions(old, new, "interpolate").apply(table(old)), theirs)


@pytest.mark.parametrize("side", [12, 4])
def test_bicubic_is_timms_levit_to_the_bit(side):
    old, new = Window(7, 7), Window(side, side)
    theirs = resize_rel_pos_bias_table_levit(table(old), (new.entries, 3))
    assert torch.equal(RelativePositions(old, new, "bicubic").apply(table(old)), theirs)


@pytest.mark.parametrize("size", WINDOWS)
def test_bilinear_is_torchs(size):
    new = Window(*size)
    maps = table(Window(7, 7)).t().reshape(1, 3, 13, 13)
    theirs = functional.interpolate(maps, new.offsets, mode="bilinear", antialias=True)[0].flatten(1).t()
    assert torch.equal(RelativePositions(Window(7, 7), new, "bilinear").apply(table(Window(7, 7))), theirs)


@pytest.mark.parametrize("size", WINDOWS)
@pytest.mark.parametrize("mode", ["geometric", "interpolate"])
def test_maps_are_as_flat_tables(size, mode):
    op = RelativePositions(Window(7, 7), Window(*size), mode)
    flat = table(Window(7, 7))
    maps = op.apply(flat.t().reshape(3, 13, 13))
    assert maps.shape == op.shape((3, 13, 13)) == (3, *Window(*size).offsets)
    torch.testing.assert_close(maps.flatten(1).t(), op.apply(flat))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extra", [0, 3])
def test_what_grew_comes_back(mode, extra):
    op = RelativePositions(Window(7, 7, extra), Window(12, 9, extra), mode)
    grown = op.apply(table(op.source))
    torch.testing.assert_close(op.invert(grown), table(op.source), atol=5e-5, rtol=0)
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op
    grown[5] += 0.3
    with pytest.raises(AdaptError, match="trained since"):
        op.invert(grown)


def test_what_shrank_does_not():
    op = RelativePositions(Window(7, 7), Window(4, 4), "interpolate")
    with pytest.raises(AdaptError, match="more positions"):
        op.invert(op.apply(table(op.source)))


def test_found_by_its_place():
    place = WindowPlace(Window(12, 12))
    (op,) = find_ops(Change((169, 3), (529, 3), "relative-position", place=place))
    assert op.describe() == "window 7x7→12x12, geometric"
    said = WindowPlace(Window(12, 12), Window(4, 8))
    change = Change((105, 3), (529, 3), "relative-position", {"relative-positions": "bicubic"}, place=said)
    assert find_ops(change) == (RelativePositions(Window(4, 8), Window(12, 12), "bicubic"),)
    with pytest.raises(AdaptError, match="no square window") as error:
        find_ops(Change((105, 3), (529, 3), "relative-position", place=place))
    assert '"window": [rows, columns]' in str(error.value)
    (op,) = find_ops(Change((3, 13, 13), (3, 23, 23), "relative-position", place=place))
    assert op.source == Window(7, 7)


def test_what_does_not_fit():
    with pytest.raises(AdaptError, match="3 biases of class tokens in the checkpoint, 0 here"):
        RelativePositions(Window(7, 7, 3), Window(7, 7))
    with pytest.raises(AdaptError, match="a table of shape"):
        RelativePositions(Window(7, 7), Window(8, 8)).apply(torch.rand(100, 3))
    with pytest.raises(AdaptError, match="no such mode"):
        RelativePositions(Window(7, 7), Window(8, 8)).with_mode("cubic")
