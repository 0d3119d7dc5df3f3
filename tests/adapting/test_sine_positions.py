"""Sin-cos tables: transformers', timm's and a plain loop are the oracles; what was trained is none."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding
from transformers.models.whisper.modeling_whisper import sinusoids

from torchgraft import AdaptError
from torchgraft.adapting import Change, SinePositions, find_ops, op_from_json
from torchgraft.adapting.places import Grid, Line, PositionPlace
from torchgraft.adapting.sine_positions import sine_formula


def mae(side: int) -> torch.Tensor:
    return build_2d_sinusoidal_position_embedding(side, side, 32, cls_token=True)[None]


def vaswani(length: int, width: int) -> torch.Tensor:
    table = np.zeros((length, width))
    for position in range(length):
        for i in range(width // 2):
            angle = position / 10000 ** (2 * i / width)
            table[position, 2 * i], table[position, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return torch.from_numpy(table).float()


def plain_vit(side: int, width: int) -> torch.Tensor:
    """Beyer et al., Better plain ViT baselines for ImageNet-1k (2022): rows of x, then of y."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    omega = 1.0 / 10000 ** (torch.arange(width // 4) / (width // 4 - 1))
    x, y = x.flatten()[:, None] * omega, y.flatten()[:, None] * omega
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)


CASES = [
    ("rows-columns", mae, Grid(4, 4, 1), Grid(7, 7, 1)),
    ("columns-rows", lambda side: mae(side).roll(16, dims=2), Grid(4, 4, 1), Grid(7, 7, 1)),
    ("columns-rows-inclusive", lambda side: plain_vit(side, 32), Grid(4, 4), Grid(7, 7)),
    ("halves-inclusive", lambda length: sinusoids(length, 32), Line(10), Line(25)),
    ("interleaved", lambda length: vaswani(length, 32), Line(10), Line(25)),
]


@pytest.mark.parametrize(("formula", "made", "source", "target"), CASES)
def test_computed_for_another_size(formula, made, source, target):
    sizes = [getattr(place, "rows", None) or place.length for place in (source, target)]
    old, new = map(made, sizes)
    assert sine_formula(old, (source,)) == formula
    op = SinePositions(formula, source, target)
    torch.testing.assert_close(op.apply(old), new, atol=1e-5, rtol=0)
    torch.testing.assert_close(op.invert(new), old, atol=1e-5, rtol=0)
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op
    assert op.shape(tuple(old.shape)) == tuple(new.shape)
    place = PositionPlace(target, sines=formula)
    assert find_ops(Change(tuple(old.shape), tuple(new.shape), "position", place=place)) == (op,)
    assert sine_formula(old.half(), (source,)) == formula


def test_not_square():
    """Each half is that of its own coordinate."""
    table = SinePositions("rows-columns", Grid(2, 2), Grid(3, 5)).apply(torch.empty(4, 16, device="meta"))
    assert table.shape == (15, 16)
    op = SinePositions("rows-columns", Grid(1, 1), Grid(3, 5))
    table = op.apply(torch.tensor([[0.0, 0, 0, 0, 1, 1, 1, 1] * 2]))
    assert torch.equal(table[:5, :8], table[:1, :8].expand(5, -1))
    assert torch.equal(table[::5, 8:], table[:1, 8:].expand(3, -1))


def test_what_was_trained_is_no_formula():
    table = mae(4)
    table[0, 3, 2] += 0.1
    assert sine_formula(table, (Grid(4, 4, 1),)) is None
    with pytest.raises(AdaptError, match="have been trained"):
        SinePositions("rows-columns", Grid(4, 4, 1), Grid(7, 7, 1)).apply(table)
    assert sine_formula(torch.randn(17, 32), (Grid(4, 4, 1),)) is None


def test_refused():
    with pytest.raises(AdaptError, match="no formula"):
        SinePositions("spiral", Line(3), Line(5))
    with pytest.raises(AdaptError, match="no formula for"):
        SinePositions("halves", Grid(2, 2), Grid(3, 3))
