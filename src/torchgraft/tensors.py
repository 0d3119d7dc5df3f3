"""A tensor that has not been read yet: its name, shape and dtype, and how to read it.

Everything above this room passes `TensorRef`s around; PyTorch is imported only by a read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import EllipsisType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

__all__ = ["DTYPE_BITS", "Index", "Named", "TensorRef"]

Index: TypeAlias = int | slice | EllipsisType | tuple[int | slice | EllipsisType | None, ...] | None
"""What `tensor[...]` takes: whole numbers, slices, `...` and tuples of them."""

DTYPE_BITS: dict[str, int] = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8,
    "complex128": 128, "complex64": 64, "complex32": 32,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8,
    "bool": 8, "qint8": 8, "quint8": 8, "qint32": 32,
}  # fmt: skip
"""Bits an element takes, by PyTorch's name of the dtype without `torch.`."""


@dataclass(frozen=True, slots=True)
class Named:
    """A name and a shape: all that matching needs to know of a tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class TensorRef(Named):
    """A tensor in a checkpoint, not read yet.

    Attributes:
        name: Its key, as the checkpoint spells it.
        shape: Its shape.
        dtype: PyTorch's name of its dtype without `torch.`, such as `"bfloat16"`.
        fetch: Gives the tensor that an index selects. It may share memory with the file's mapping
            (privately: writing to it never reaches the file).
        alias: Equal for tensors that are the same view of the same stored bytes (tied weights).
        layout: How its dimensions are ordered, where the library that wrote it is known to order them in
            another way than PyTorch: `"HWIO"` for a convolution's kernel, `"IO"` for a dense layer's.
    """

    fetch: Callable[[Index], torch.Tensor] = field(kw_only=True, repr=False, compare=False)
    alias: str | None = field(default=None, kw_only=True, repr=False)
    layout: str = field(default="", kw_only=True, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes its elements take."""
        return self.numel * DTYPE_BITS[self.dtype] // 8

    def view(self, index: Index = ...) -> torch.Tensor:
        """Read without copying where the container allows it: only touched pages are loaded."""
        return self.fetch(index)

    def read(self, index: Index = ...) -> torch.Tensor:
        """Read the part that `index` selects into memory of its own."""
        return self.fetch(index).clone()

    def __getitem__(self, index: Index) -> torch.Tensor:
        return self.read(index)
