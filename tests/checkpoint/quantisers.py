"""Weights quantised as each library writes them, and what the numbers stand for, element by element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

F8 = torch.float8_e4m3fn
F8_WIDE = torch.float8_e5m2


@dataclass(frozen=True)
class Convention:
    """How a library stores a weight.

    Attributes:
        name: What it is called here.
        quantise: Gives the tensors of `layer` by name, from a weight `(out, in)`.
        scale_of: The scale of element `(row, column)`, as a product of float32 numbers in their order, from
            those tensors.
        error: The largest error that rounding makes, as a share of the weight's largest element.
    """

    name: str
    quantise: Callable[[torch.Tensor], dict[str, torch.Tensor]]
    scale_of: Callable[[dict[str, torch.Tensor], int, int], list[np.float32]]
    error: float

    def values(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the stored numbers stand for: a loop over all elements, in numpy's float32."""
        numbers = tensors["layer.weight"].float().numpy()
        zeros = tensors.get("layer.weight_zero_point")
        made = np.empty_like(numbers)
        for row, column in np.ndindex(*numbers.shape):
            value = np.float32(numbers[row, column])
            if zeros is not None:
                value = np.float32(value - np.float32(zeros.flatten()[row].item()))
            for scale in self.scale_of(tensors, row, column):
                value = np.float32(value * np.float32(scale))
            made[row, column] = value
        return torch.from_numpy(made)


def _largest(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).max if dtype.is_floating_point else 127


def _stored(w: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    scaled = w / scale
    limit = _largest(dtype)
    scaled = scaled.clamp(-limit, limit) if dtype.is_floating_point else scaled.round().clamp(-128, 127)
    return scaled.to(dtype)


def _blocks(w: torch.Tensor, size: int, dtype: torch.dtype = F8) -> tuple[torch.Tensor, torch.Tensor]:
    """Block by block, as DeepSeek-V3's `weight_dequant` undoes it."""
    rows, columns = (-(-length // size) for length in w.shape)
    scales, stored = torch.empty(rows, columns), torch.empty(w.shape, dtype=dtype)
    for i in range(rows):
        for j in range(columns):
            at = slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size)
            scales[i, j] = w[at].abs().max() / _largest(dtype)
            stored[at] = _stored(w[at], scales[i, j], dtype)
    return stored, scales


def deepseek(w: torch.Tensor) -> dict[str, torch.Tensor]:
    stored, scales = _blocks(w, 128)
    return {"layer.weight": stored, "layer.weight_scale_inv": scales}


def per_tensor(
    w: torch.Tensor, dtype: torch.dtype = F8, shape: tuple[int, ...] = ()
) -> dict[str, torch.Tensor]:
    scale = w.abs().max() / _largest(dtype)
    return {
        "layer.weight": _stored(w, scale, dtype),
        "layer.weight_scale": scale.reshape(shape),
        "layer.input_scale": torch.tensor(0.5),
    }


def per_row(w: torch.Tensor, dtype: torch.dtype = F8, flat: bool = False) -> dict[str, torch.Tensor]:
    scale = (w.abs().amax(1, keepdim=True) / _largest(dtype)).bfloat16()
    return {
        "layer.weight": _stored(w, scale.float(), dtype),
        "layer.weight_scale": scale.flatten() if flat else scale,
    }


def with_zero_points(w: torch.Tensor) -> dict[str, torch.Tensor]:
    low, high = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
    scale = (high - low) / 255
    zero = (-128 - low / scale).round().clamp(-128, 127)
    return {
        "layer.weight": (w / scale + zero).round().clamp(-128, 127).to(torch.int8),
        "layer.weight_scale": scale,
        "layer.weight_zero_point": zero.to(torch.int8),
    }


def groups(w: torch.Tensor, size: int = 20) -> dict[str, torch.Tensor]:
    parts = w.reshape(w.shape[0], -1, size)
    scale = parts.abs().amax(2) / 127
    stored = _stored(parts, scale[:, :, None], torch.int8).reshape(w.shape)
    return {"layer.weight": stored, "layer.weight_scale": scale}


def microscaled(w: torch.Tensor, as_bytes: bool = False) -> dict[str, torch.Tensor]:
    parts = w.reshape(w.shape[0], -1, 8)
    exponent = (parts.abs().amax(2) / 448).log2().ceil()
    stored = _stored(parts, exponent[:, :, None].exp2(), F8).reshape(w.shape)
    scale = (exponent + 127).to(torch.uint8)
    return {
        "layer.weight": stored,
        "layer.weight_scale_inv": scale if as_bytes else scale.view(torch.float8_e8m0fnu),
    }


def comfy(w: torch.Tensor) -> dict[str, torch.Tensor]:
    made = per_tensor(w, F8_WIDE)
    return {
        "layer.weight": made["layer.weight"],
        "layer.scale_weight": made["layer.weight_scale"],
        "scaled_fp8": torch.empty(2, dtype=F8),
    }


def bitsandbytes(w: torch.Tensor) -> dict[str, torch.Tensor]:
    largest = w.abs().amax(1)
    return {
        "layer.weight": (w / largest[:, None] * 127).round().to(torch.int8),
        "layer.SCB": largest,
        "layer.weight_format": torch.tensor(0, dtype=torch.uint8),
    }


def _name(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    known = ("layer.weight_scale", "layer.weight_scale_inv", "layer.scale_weight", "layer.SCB")
    return next(tensors[name] for name in known if name in tensors)


def _one(tensors: dict[str, torch.Tensor], _row: int, _column: int) -> list[np.float32]:
    return [np.float32(_name(tensors).item())]


def _of_row(tensors: dict[str, torch.Tensor], row: int, _column: int) -> list[np.float32]:
    return [np.float32(_name(tensors).flatten()[row].item())]


def _of_block(high: int, wide: int) -> Callable[[dict[str, torch.Tensor], int, int], list[np.float32]]:
    return lambda t, row, column: [np.float32(_name(t)[row // high, column // wide].item())]


def _of_exponent(tensors: dict[str, torch.Tensor], row: int, column: int) -> list[np.float32]:
    byte = _name(tensors).view(torch.uint8)[row, column // 8].item()
    return [np.float32(2.0 ** (byte - 127))]


def _of_largest(tensors: dict[str, torch.Tensor], row: int, _column: int) -> list[np.float32]:
    return [np.float32(tensors["layer.SCB"][row].item()), np.float32(7.874015718698502e-3)]  # the library's


_FINE, _COARSE, _INT8 = 1 / 16, 1 / 8, 1 / 200
"""Half a step of e4m3 (3 bits of fraction) and e5m2 at the largest value, and of 8 bits."""

CONVENTIONS = [
    Convention("deepseek", deepseek, _of_block(128, 128), _FINE),
    Convention("tensor", per_tensor, _one, _FINE),
    Convention("tensor-1", lambda w: per_tensor(w, shape=(1,)), _one, _FINE),
    Convention("row", per_row, _of_row, _FINE),
    Convention("row-flat", lambda w: per_row(w, flat=True), _of_row, _FINE),
    Convention("int8-row", lambda w: per_row(w, torch.int8), _of_row, _INT8),
    Convention("int8-tensor", lambda w: per_tensor(w, torch.int8), _one, _INT8),
    Convention("int8-zero-point", with_zero_points, _of_row, _INT8),
    Convention("int8-groups", groups, _of_block(1, 20), _INT8),
    Convention("mx", microscaled, _of_exponent, _FINE),
    Convention("mx-bytes", lambda w: microscaled(w, as_bytes=True), _of_exponent, _FINE),
    Convention("comfy", comfy, _one, _COARSE),
    Convention("bitsandbytes", bitsandbytes, _of_largest, _INT8),
]
