"""Normalisation that a model does itself, which must follow when its input gets other channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.sites import Site
from torchgraft.errors import AdaptError
from torchgraft.model_info import Preprocessing
from torchgraft.surgery.edits import Edits

__all__ = ["renormalise"]


def renormalise(
    model: nn.Module, stems: Sequence[Site], channels: int, outside: Preprocessing | None, edits: Edits
) -> Preprocessing | None:
    """Collect the edits by which the model normalises so many channels, and tell what is left to do outside.

    A detector's `image_mean` and `image_std` follow the rule of `Preprocessing.with_channels`.

    `transform_input` of Inception and GoogLeNet takes channels 0 to 2 from ImageNet's normalisation to a mean
    and standard deviation of 0.5. It is switched off, and `outside` normalises so at once, so that both
    together do what they did. It can't be folded into the first layer, whose zero padding comes after it.

    Raises:
        AdaptError: The model's `transform_input` is on, and what is normalised outside is not known.
    """
    have = stems[0].channels
    for module in model.modules():
        mean, std = getattr(module, "image_mean", None), getattr(module, "image_std", None)
        if isinstance(mean, list | tuple) and isinstance(std, list | tuple) and len(mean) == len(std) == have:
            inside = Preprocessing(mean=tuple(mean), std=tuple(std)).with_channels(channels)
            edits.attribute(module, "image_mean", type(mean)(inside.mean))
            edits.attribute(module, "image_std", type(std)(inside.std))
    if channels != have:
        for owner in _transforming(model, stems):
            outside = _merged(owner, have, outside)
            edits.attribute(owner, "transform_input", False)
    return None if outside is None else outside.with_channels(channels)


def _transforming(model: nn.Module, stems: Sequence[Site]) -> Iterator[Any]:
    """Modules around the stems whose own transform of the input is on."""
    for path, module in model.named_modules():
        around = any(site.path.startswith(f"{path}." if path else "") for site in stems)
        if (
            around
            and getattr(module, "transform_input", False) is True
            and hasattr(module, "_transform_input")
        ):
            yield module


def _merged(owner: Any, channels: int, outside: Preprocessing | None) -> Preprocessing:
    """One normalisation that does what `outside` and then the model's own do."""
    if outside is None or outside.channels != channels:
        raise AdaptError(
            f"its transform_input takes just {channels} channels, normalised by ImageNet's statistics, and "
            "it is not known what your images are normalised by",
            where=type(owner).__name__,
            hint="set model.transform_input = False and normalise each channel by a mean and std of 0.5, "
            "which is the same; or say what you normalise by: torchgraft.describe(model, preprocessing=…)",
        )
    flat = torch.stack([torch.zeros(channels), torch.ones(channels)]).double()
    shift, end = owner._transform_input(flat[:, :, None, None])[..., 0, 0].tolist()  # noqa: SLF001  # torchvision has no public name for it
    scale = [high - low for low, high in zip(shift, end, strict=True)]
    return outside.followed_by(scale, shift)
