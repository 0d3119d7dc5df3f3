"""A picture in parts, put together again."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from torchgraft.finetuning.predictions.tiles import mask_of, tiles_of
from torchgraft.model_info import Preprocessing

HOW = Preprocessing((16, 16), 0.875, "bilinear", (0.0,) * 3, (1.0,) * 3)


def photo(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "resized", "places"),
    [
        ((16, 16), (16, 16), [(0, 0)]),
        ((32, 32), (16, 16), [(0, 0)]),
        ((16, 40), (16, 40), [(0, 0), (0, 12), (0, 24)]),
        ((64, 32), (32, 16), [(0, 0), (16, 0)]),
        ((30, 31), (16, 16), [(0, 0)]),
        ((2, 3), (16, 24), [(0, 0), (0, 8)]),
    ],
)
def test_as_few_parts_as_it_takes(size, resized, places):
    found = tiles_of(photo(*size), HOW)
    assert (found.resized, list(found.places), found.original) == (resized, places, size)
    assert found.inputs.shape == (len(places), 3, 16, 16)


def test_a_squashing_model_sees_one_part():
    found = tiles_of(photo(20, 50), Preprocessing((16, 16), 0.875, squash=True))
    assert (found.resized, found.places) == ((16, 16), ((0, 0),))


SIZES = [(16, 16), (16, 40), (64, 32), (33, 90), (11, 7)]


@pytest.mark.parametrize("size", SIZES)
def test_a_model_of_single_pixels_gives_the_same_as_on_the_whole(size):
    """What looks at one pixel at a time can't know of parts."""
    tiles = tiles_of(photo(*size), HOW)
    scores = tiles.inputs[:, :2]
    whole = torch.zeros(2, *tiles.resized)
    for part, (top, left) in zip(scores, tiles.places, strict=True):
        whole[:, top : top + 16, left : left + 16] = part
    expected = functional.interpolate(whole[None], size, mode="bilinear", align_corners=False)[0].argmax(0)
    assert (mask_of(scores, tiles) == expected).float().mean() > 0.999


@pytest.mark.parametrize("size", SIZES)
def test_a_model_may_give_smaller_maps(size):
    tiles = tiles_of(photo(*size), HOW)
    assert mask_of(torch.randn(len(tiles.places), 3, 4, 4), tiles).shape == size


def test_where_parts_overlap_scores_are_averaged():
    tiles = tiles_of(photo(16, 24), HOW)  # at 0 and 8
    scores = torch.zeros(2, 2, 16, 16)
    scores[0, 1], scores[1, 0] = 1.0, 3.0  # class 1 on the left, and surer of class 0 on the right
    mask = mask_of(scores, tiles)
    assert mask[0].tolist() == [1] * 8 + [0] * 16


def test_a_huge_picture_is_resized_by_its_best_class(monkeypatch):
    tiles = tiles_of(photo(64, 32), HOW)
    scores = functional.one_hot((tiles.inputs[:, 0] > 0.5).long(), 2).permute(0, 3, 1, 2).float()
    full = mask_of(scores, tiles)
    monkeypatch.setattr("torchgraft.finetuning.predictions.tiles._MOST", 10)
    small = mask_of(scores, tiles)
    assert small.shape == full.shape == (64, 32)
    assert (small == full).float().mean() > 0.6
