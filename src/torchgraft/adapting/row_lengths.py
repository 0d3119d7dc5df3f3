"""Classifiers whose rows all have one length, as a cosine classifier's have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["SPREAD", "common_length", "of_length"]

SPREAD = 1e-3
"""How far the lengths of a cosine classifier's rows lie apart at most, as a share of the first."""


def common_length(weight: torch.Tensor) -> torch.Tensor | None:
    """The length that all rows have; `None` for a bias, for few rows, and where they differ."""
    if weight.ndim < 2 or weight.shape[0] < 2 or weight.is_meta:
        return None
    lengths = weight.flatten(1).norm(dim=1)
    first = lengths[0]
    same = bool(first > 0) and bool((lengths - first).abs().max() < SPREAD * first)
    return first if same else None


def of_length(rows: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
    """The rows brought to this length; rows of zeros, and all for no length, as they are."""
    if length is None:
        return rows
    had = rows.flatten(1).norm(dim=1)
    scale = (length / had).where(had > 0, had)
    scaled: torch.Tensor = rows * scale.reshape(-1, *(1,) * (rows.ndim - 1))
    return scaled
