"""Networks for images and for videos beside each other: their kernels are paired without the axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torchgraft.tensors import Named

__all__ = ["without_time"]

_IMAGE, _VIDEO = 4, 5


def without_time(
    sources: Sequence[Named], targets: Sequence[Named]
) -> tuple[Sequence[Named], Sequence[Named], tuple[str, ...]]:
    """Both lists as matching is to see them, and notes on what was left out.

    Where all kernels of one side are of images and those of the other of videos, the frames of these are left
    out, so that layers have the shapes of their like. `Inflated` and `Deflated` make up for it.
    """
    ranks = [{len(named.shape) for named in side} & {_IMAGE, _VIDEO} for side in (sources, targets)]
    if ranks == [{_IMAGE}, {_VIDEO}]:
        note = "the weights are of a network for images, the model takes videos: kernels are inflated"
        return sources, [_image(named) for named in targets], (note,)
    if ranks == [{_VIDEO}, {_IMAGE}]:
        note = "the weights are of a network for videos, the model takes images: kernels are taken over time"
        return [_image(named) for named in sources], targets, (note,)
    return sources, targets, ()


def _image(named: Named) -> Named:
    if len(named.shape) != _VIDEO or named.layout:
        return named
    return replace(named, shape=(*named.shape[:2], *named.shape[3:]))
