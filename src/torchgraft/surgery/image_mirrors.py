"""Attributes in which models keep the image size, the grid of patches and the number of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from torchgraft.adapting.places import Grid, Window
from torchgraft.anatomy.configs import all_configs
from torchgraft.anatomy.image_attributes import IMAGE_NAMES, size_of
from torchgraft.errors import AdaptError

__all__ = ["mirror_grid", "mirror_image_size", "mirror_window"]

_GRIDS = ("grid_size", "patch_shape", "patches_resolution", "input_resolution", "feat_size")
_COUNTS = ("num_patches", "num_positions", "seq_length", "seq_len", "num_embeddings", "num_tokens")


def mirror_image_size(model: nn.Module, old: tuple[int, int], new: tuple[int, int]) -> None:
    """Whatever names the old size in a module or config names the new one.

    Raises:
        AdaptError: A module knows square images only, and the new ones are not.
    """
    for owner in _owners(model):
        for name in IMAGE_NAMES:
            value = vars(owner).get(name)
            if value is not None and size_of(value) == old:
                setattr(owner, name, _like(value, new, owner))


def mirror_grid(model: nn.Module, old: Grid, new: Grid) -> None:
    """The same for a grid of patches, and for the number of patches and of tokens."""
    sides, new_sides = (old.rows, old.columns), (new.rows, new.columns)
    counts = {old.tokens: new.tokens, math.prod(sides): math.prod(new_sides)}
    for owner in _owners(model):
        for name in _GRIDS:
            value = vars(owner).get(name)
            if isinstance(value, tuple | list) and tuple(value) == sides:
                setattr(owner, name, type(value)(new_sides))
        for name in _COUNTS:
            value = vars(owner).get(name)
            if isinstance(value, int) and value in counts and not _of_another_table(owner, name, new):
                setattr(owner, name, counts[value])
        if isinstance(owner, nn.Module):
            _renumber(owner, old.tokens, new.tokens)


def mirror_window(owner: nn.Module, old: Window, new: Window) -> None:
    """The same for a window, in the module that holds its table."""
    for name, value in list(vars(owner).items()):
        if (
            isinstance(value, tuple | list)
            and name == "window_size"
            and tuple(value) == (old.rows, old.columns)
        ):
            setattr(owner, name, type(value)((new.rows, new.columns)))
        elif isinstance(value, int) and name == "num_relative_distance" and value == old.entries:
            setattr(owner, name, new.entries)


def _of_another_table(owner: object, name: str, new: Grid) -> bool:
    """Whether it is the size of an `Embedding` whose table is not of this grid."""
    weight = getattr(owner, "weight", None)
    return name == "num_embeddings" and isinstance(weight, torch.Tensor) and weight.shape[0] != new.tokens


def _renumber(module: nn.Module, old: int, new: int) -> None:
    """Buffers that number the tokens, as CLIP has them."""
    for name, buffer in list(module.named_buffers(recurse=False)):
        if name == "position_ids" and buffer.shape == (1, old):
            module._buffers[name] = torch.arange(new, dtype=buffer.dtype, device=buffer.device)[None]  # noqa: SLF001  # keeps what it is, persistent or not


def _owners(model: nn.Module) -> Iterator[object]:
    yield from model.modules()
    yield from (config for config in all_configs(getattr(model, "config", None)) if config is not None)


def _like(value: object, size: tuple[int, int], owner: object) -> Any:
    """The size in the form that `value` has."""
    if isinstance(value, tuple | list):
        return type(value)(size)
    if size[0] == size[1]:
        return size[0]
    if isinstance(owner, nn.Module):
        raise AdaptError(
            f"{type(owner).__name__} keeps one number for both sides, so it can't take {size[0]}x{size[1]}",
            hint="give a square size",
        )
    return list(size)  # a config, which may say either
