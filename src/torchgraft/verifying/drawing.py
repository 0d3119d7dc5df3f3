"""Inputs to compare models on: random ones of the shapes that both take, and changed ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["changed", "redrawn", "vocabulary"]


def vocabulary(*models: object) -> int:
    """How many tokens the models' first embeddings know at least; 2 if there is no embedding."""
    firsts = [
        next((layer.num_embeddings for layer in model.modules() if isinstance(layer, nn.Embedding)), None)
        for model in models
        if isinstance(model, nn.Module)
    ]
    return max(2, min((size for size in firsts if size is not None), default=2))


def redrawn(example: object, seed: int, tokens: int) -> object:
    """Another random input of the example's shapes; the same for the same seed.

    Draw 0 is uniform in 0…1. In the others each entry of the batch has a level of its own, for a network
    that averages over an image tells one picture of white noise hardly from another.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(value: object, name: str = "") -> object:
        if isinstance(value, Mapping):
            return {key: draw(inner, str(key)) for key, inner in value.items()}
        if isinstance(value, tuple | list):
            return tuple(draw(inner) for inner in value)
        if not isinstance(value, torch.Tensor) or value.dtype == torch.bool or "mask" in name:
            return value
        if not (value.is_floating_point() or value.is_complex()):
            most = 2 if "type" in name else tokens
            return torch.randint(most, value.shape, generator=generator).to(value)
        new = torch.rand(value.shape, generator=generator)
        if seed:
            level = torch.randn((*value.shape[:1], *([1] * (value.ndim - 1))), generator=generator)
            new = 2 * new - 1 + level
        return new.to(value)

    return draw(example)


def changed(example: object) -> object | None:
    """The example with its numbers changed: noise as large as they are, or their order turned round.

    `None` if nothing in it can be changed.
    """
    generator = torch.Generator().manual_seed(0)
    was_changed = False

    def change(value: object) -> object:
        nonlocal was_changed
        if isinstance(value, Mapping):
            return {key: change(inner) for key, inner in value.items()}
        if isinstance(value, tuple | list):
            return tuple(map(change, value))
        if not isinstance(value, torch.Tensor) or not value.numel():
            return value
        if value.is_floating_point():
            size = float(value.detach().double().abs().nan_to_num(0, 0, 0).max()) or 1.0
            new = (value + size * torch.randn(value.shape, generator=generator).to(value)).to(value)
        else:
            new = value.flip(-1) if value.ndim else value
        was_changed |= not torch.equal(new, value)
        return new

    new = change(example)
    return new if was_changed else None
