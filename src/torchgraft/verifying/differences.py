"""How far apart two tensors of outputs are, and where most."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

__all__ = ["Apart", "apart"]


@dataclass(frozen=True, slots=True)
class Apart:
    """The largest difference of two tensors.

    Attributes:
        absolute: Infinite where shapes differ, or where one alone, or both, are no numbers.
        relative: In proportion to the expected tensor's largest absolute value.
        index: Where in the tensor; `None` if everywhere, for shapes differ.
        problem: Why they can't be subtracted; empty if they can.
    """

    absolute: float
    relative: float
    index: tuple[int, ...] | None
    problem: str = ""


def apart(found: torch.Tensor, expected: torch.Tensor) -> Apart:
    """The largest difference, in double precision. Equal infinities are equal; NaN is equal to nothing."""
    if found.shape != expected.shape:
        shapes = f"its shape is {list(found.shape)}, not {list(expected.shape)}"
        return Apart(math.inf, math.inf, None, shapes)
    if not found.numel():
        return Apart(0.0, 0.0, None)
    x, y = _double(found), _double(expected)
    distance = (x - y).abs().masked_fill_(x == y, 0.0)  # ∞ − ∞ is NaN
    at = int(distance.nan_to_num(nan=math.inf).argmax())
    most = float(distance.reshape(-1)[at])
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), found.shape))
    if not math.isfinite(most):
        values = f"{_shown(x, index)}, not {_shown(y, index)}"
        return Apart(math.inf, math.inf, index, f"it is {values}")
    size = y.abs()
    scale = float(size[size.isfinite()].max()) if bool(size.isfinite().any()) else 0.0
    return Apart(most, most / scale if scale else math.inf if most else 0.0, index)


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _shown(tensor: torch.Tensor, index: tuple[int, ...]) -> str:
    value = tensor[index].item()
    return f"{value:g}" if isinstance(value, float) else str(value)
