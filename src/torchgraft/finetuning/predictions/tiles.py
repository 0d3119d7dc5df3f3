"""A whole picture as parts of the model's input size, and the scores of the parts put together again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from torchgraft.finetuning.images.reading import Picture
from torchgraft.finetuning.inputs.input_tensor import evaluation_input, size_before_crop
from torchgraft.model_info import Preprocessing

__all__ = ["Tiles", "mask_of", "tiles_of"]

_MOST = 1 << 27
"""Scores (classes · pixels) up to which they are resized to the picture; above, only their best class is."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """A resized picture in overlapping parts.

    Attributes:
        inputs: (parts, channels, height, width), each of the model's input size.
        places: Top and left of each part in the resized picture.
        resized: Height and width of that.
        original: Height and width of the picture as it came.
    """

    inputs: torch.Tensor
    places: tuple[tuple[int, int], ...]
    resized: tuple[int, int]
    original: tuple[int, int]


def tiles_of(picture: Picture, how: Preprocessing) -> Tiles:
    """Resize so that the input covers the shorter side, and cut the longer into as few parts as it takes."""
    size = tuple(picture.shape[-2:]) if isinstance(picture, torch.Tensor) else picture.size[::-1]
    original = (int(size[0]), int(size[1]))
    height, width = size_before_crop(*original, replace(how, crop=1.0))
    resized = max(height, how.size[0]), max(width, how.size[1])
    whole = evaluation_input(picture, replace(how, size=resized, crop=1.0, squash=True))
    places = tuple(
        (top, left) for top in _starts(resized[0], how.size[0]) for left in _starts(resized[1], how.size[1])
    )
    parts = [whole[:, top : top + how.size[0], left : left + how.size[1]] for top, left in places]
    return Tiles(torch.stack(parts), places, resized, original)


def mask_of(scores: torch.Tensor, tiles: Tiles) -> torch.Tensor:
    """The best class of each pixel of the original picture, int64; where parts overlap, scores are averaged.

    Args:
        scores: (parts, classes, height, width), in whatever size the model gives them.
        tiles: What they are of.
    """
    height, width = tiles.inputs.shape[-2:]
    scores = functional.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
    total = scores.new_zeros(scores.shape[1], *tiles.resized)
    count = scores.new_zeros(tiles.resized)
    for part, (top, left) in zip(scores, tiles.places, strict=True):
        total[:, top : top + height, left : left + width] += part
        count[top : top + height, left : left + width] += 1
    total /= count
    if total.shape[0] * math.prod(tiles.original) <= _MOST:
        sized = functional.interpolate(total[None], tiles.original, mode="bilinear", align_corners=False)
        return sized[0].argmax(dim=0)
    best = total.argmax(dim=0)[None, None].float()
    return functional.interpolate(best, tiles.original, mode="nearest-exact")[0, 0].long()


def _starts(length: int, part: int) -> list[int]:
    count = -(-length // part)
    if count == 1:
        return [0]
    return [round(index * (length - part) / (count - 1)) for index in range(count)]
