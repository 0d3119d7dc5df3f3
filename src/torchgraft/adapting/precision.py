"""The precision ops compute in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["widened"]


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32 where its own type is narrower: sums of half-precision numbers lose digits."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
