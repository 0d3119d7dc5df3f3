"""Positions of another grid: timm, transformers, torchvision and torch are the oracles; back; refusals."""

from __future__ import annotations

import json
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from timm.layers import resample_abs_pos_embed
from timm.layers.pos_embed import resample_abs_pos_embed_nhwc
from torch.nn import functional
from torchvision.models.vision_transformer import interpolate_embeddings
from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings

from torchgraft import AdaptError
from torchgraft.adapting import Change, Positions, Reshaped, find_ops, op_from_json
from torchgraft.adapting.places import Grid, PositionPlace

TABLE = torch.randn(1, 1 + 6 * 6, 8, generator=torch.Generator().manual_seed(0))
GRIDS = [(9, 9), (4, 4), (3, 8), (6, 12), (12, 3)]
MODES = ["bicubic", "bilinear", "nearest", "interpolate", "corners"]


def resized(size: tuple[int, int], mode: str = "bicubic") -> Positions:
    return Positions(Grid(6, 6, 1), Grid(*size, 1), (0,), mode=mode)


@pytest.mark.parametrize("size", GRIDS)
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_timms_to_the_bit(size, mode, dtype):
    table = TABLE.to(dtype)
    theirs = resample_abs_pos_embed(table, list(size), [6, 6], num_prefix_tokens=1, interpolation=mode)
    ours = resized(size, mode).apply(table)
    assert ours.dtype == dtype
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("size", [(9, 9), (4, 4), (3, 8)])
def test_transformers_to_the_bit(size):
    stand_in = SimpleNamespace(position_embeddings=TABLE, patch_embeddings=SimpleNamespace(patch_size=(1, 1)))
    tokens = torch.empty(1, 1 + size[0] * size[1], 8)
    theirs = Dinov2Embeddings.interpolate_pos_encoding(stand_in, tokens, *size)
    assert torch.equal(resized(size, "interpolate").apply(TABLE), theirs)


@pytest.mark.parametrize("side", [9, 4])
def test_torchvisions_to_the_bit(side):
    state = OrderedDict({"encoder.pos_embedding": TABLE})
    theirs = interpolate_embeddings(side, 1, state)["encoder.pos_embedding"]
    assert torch.equal(resized((side, side), "corners").apply(TABLE), theirs)


@pytest.mark.parametrize("size", GRIDS)
def test_nearest_is_torchs(size):
    maps = TABLE[:, 1:].reshape(1, 6, 6, 8).permute(0, 3, 1, 2)
    theirs = functional.interpolate(maps, size=size, mode="nearest-exact").flatten(2).transpose(1, 2)
    assert torch.equal(resized(size, "nearest").apply(TABLE)[:, 1:], theirs)


def test_maps_are_timms_too():
    table = torch.randn(1, 6, 4, 8)
    theirs = resample_abs_pos_embed_nhwc(table, [9, 7])
    op = Positions(Grid(6, 4), Grid(9, 7), layout="last")
    assert torch.equal(op.apply(table), theirs)
    first = Positions(Grid(6, 4), Grid(9, 7), layout="first")
    assert torch.equal(first.apply(table.permute(0, 3, 1, 2)[0]), theirs.permute(0, 3, 1, 2)[0])
    assert op.shape((1, 6, 4, 8)) == (1, 9, 7, 8)
    assert first.shape((8, 6, 4)) == (8, 9, 7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(9, 9), (6, 12), (7, 6)])
def test_what_grew_comes_back(mode, size):
    op = resized(size, mode)
    grown = op.apply(TABLE)
    torch.testing.assert_close(op.invert(grown), TABLE, rtol=0, atol=2e-5)
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op
    trained = grown.clone()
    trained[0, 3] += 0.5
    if mode != "nearest" or size != (7, 6):
        with pytest.raises(AdaptError, match="trained since"):
            op.invert(trained)


@pytest.mark.parametrize("size", [(4, 4), (9, 4)])
def test_what_shrank_does_not(size):
    op = resized(size)
    with pytest.raises(AdaptError, match="more positions than"):
        op.invert(op.apply(TABLE))


def test_other_tokens_are_carried_dropped_and_added():
    table = torch.randn(1, 2 + 9 + 1, 4)
    op = Positions(Grid(3, 3, 2, 1), Grid(3, 3, 3, 2), (0, None, None))
    new = op.apply(table)
    zero = torch.zeros(4)
    expected = [table[0, 0], zero, zero, *table[0, 2:11], table[0, 11], zero]
    assert torch.equal(new[0], torch.stack(expected))
    assert (
        op.effect == "patches keep their positions, 1 of another kind of token dropped, 2 of new tokens zero"
    )
    with pytest.raises(AdaptError, match="1 rows of other tokens were dropped"):
        op.invert(new)
    assert torch.equal(op.invert(new, table), table)


def test_a_new_register_changes_nothing_for_the_others():
    """Zeros are what a token without a position has, as with `no_embed_class`."""
    table = torch.randn(1, 9, 4)
    new = Positions(Grid(3, 3), Grid(3, 3, 1), (None,)).apply(table)
    assert torch.equal(new[:, 1:], table)
    assert not new[:, 0].any()


PLACE = PositionPlace(Grid(9, 9, 1))


@pytest.mark.parametrize(
    ("source", "target", "place", "expected"),
    [
        ((1, 37, 8), (1, 82, 8), PLACE, (Grid(6, 6, 1), (0,))),
        ((37, 8), (82, 8), PLACE, (Grid(6, 6, 1), (0,))),
        ((1, 36, 8), (1, 82, 8), PLACE, (Grid(6, 6), (None,))),
        (
            (1, 38, 8),
            (1, 82, 8),
            PositionPlace(
                Grid(9, 9, 1), kinds=("class",), prefixes=(("class", "distillation"), ("class",), ())
            ),
            (Grid(6, 6, 2), (0,)),
        ),
        (
            (1, 38, 8),
            (1, 86, 8),
            PositionPlace(
                Grid(9, 9, 5),
                kinds=("class", *["register"] * 4),
                prefixes=(("class", "distillation"), ("class",), ()),
            ),
            (Grid(6, 6, 2), (0, None, None, None, None)),
        ),
        ((1, 73, 8), (1, 33, 8), PositionPlace(Grid(4, 8, 1)), (Grid(6, 12, 1), (0,))),
        ((1, 37, 8), (1, 73, 8), PositionPlace(Grid(6, 12, 1)), (Grid(6, 6, 1), (0,))),
        ((1, 49, 8), (1, 82, 8), PositionPlace(Grid(9, 9, 1), Grid(4, 12, 1)), (Grid(4, 12, 1), (0,))),
    ],
)
def test_the_sources_grid_follows_from_its_rows(source, target, place, expected):
    (op,) = find_ops(Change(source, target, "position", place=place))
    assert isinstance(op, Positions)
    assert (op.source, op.prefix) == expected


def test_brackets_may_differ_too():
    ops = find_ops(Change((37, 8), (1, 82, 8), "position", place=PLACE))
    assert [type(op) for op in ops] == [Positions, Reshaped]


@pytest.mark.parametrize(
    ("rows", "place", "message"),
    [
        (39, PLACE, "39 positions are no square grid after 1 or 0 other tokens"),
        (5, PositionPlace(Grid(9, 9, 4)), None),  # 1 + 2x2 is not asked for: 4+1x1 is the one that fits
        (37, PositionPlace(Grid(9, 4, 1)), "several grids: 1\\+6x6, 1\\+9x4"),
        (6, PositionPlace(Grid(9, 9, 5), prefixes=(("class",) * 5, ("class",) * 2)), "5\\+1x1, 2\\+2x2"),
    ],
)
def test_what_can_not_be_told_is_refused(rows, place, message):
    change = Change((1, rows, 8), (1, place.target.tokens, 8), "position", place=place)
    if message is None:
        find_ops(change)
        return
    with pytest.raises(AdaptError, match=message) as error:
        find_ops(change)
    assert 'modes={"positions": {"grid": [rows, columns]' in str(error.value)


def test_modes():
    change = Change((1, 37, 8), (1, 82, 8), "position", {"positions": "nearest"}, place=PLACE)
    (op,) = find_ops(change)
    assert op.describe() == "positions 1+6x6→1+9x9, nearest"
    assert op.with_mode("bilinear").mode == "bilinear"
    with pytest.raises(AdaptError, match="no such mode: 'cubic'") as error:
        op.with_mode("cubic")
    assert "bicubic, bilinear, nearest, interpolate, corners" in str(error.value)


def test_what_does_not_fit():
    op = resized((9, 9))
    with pytest.raises(AdaptError, match="does not hold the positions 1\\+6x6"):
        op.apply(torch.rand(1, 36, 8))
    with pytest.raises(AdaptError, match="dequantise"):
        op.apply(torch.zeros(1, 37, 8, dtype=torch.int8))
    with pytest.raises(AdaptError, match="does not say which"):
        Positions(Grid(2, 2, 1), Grid(2, 2, 1), (1,))
    with pytest.raises(AdaptError, match="no grid"):
        Grid(0, 3)
    meta = op.apply(torch.empty(1, 37, 8, device="meta"))
    assert meta.shape == (1, 82, 8)
