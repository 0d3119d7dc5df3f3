"""A tensor that has not been read yet: its name, shape and dtype, and how to read it.

Everything above this room passes `TensorRef`s around; PyTorch is imported only by a read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import EllipsisType
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import torch

__all__ = ["DTYPE_BITS", "Far", "Index", "Named", "Span", "TensorRef"]

Index: TypeAlias = int | slice | EllipsisType | tuple[int | slice | EllipsisType | None, ...] | None
"""What `tensor[...]` takes: whole numbers, slices, `...` and tuples of them."""

DTYPE_BITS: dict[str, int] = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8,
    "complex128": 128, "complex64": 64, "complex32": 32,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8,
    "bool": 8, "qint8": 8, "quint8": 8, "qint32": 32,
    "quint4x2": 8, "quint2x4": 8,
}  # fmt: skip
"""Bits an element takes, by PyTorch's name of the dtype without `torch.`; of the last two, which pack two and
four elements in it, a byte of the storage. No `TensorRef` is of those."""


@dataclass(frozen=True, slots=True)
class Named:
    """A name and a shape: all that matching needs to know of a tensor.

    Attributes:
        name: Its key, as the checkpoint or the model spells it.
        shape: Its shape.
        dtype: PyTorch's name of its dtype without `torch.`, such as `"bfloat16"`.
        layout: How its dimensions are ordered, where the library that wrote it is known to order them in
            another way than PyTorch: `"HWIO"` for a convolution's kernel, `"IO"` for a dense layer's.
            Of a sparse tensor, PyTorch's name of its layout, such as `"sparse_coo"`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = field(default="", kw_only=True, repr=False)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@runtime_checkable
class Far(Protocol):
    """A file whose bytes cost a request, so that those that are wanted are best asked for together."""

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> AbstractContextManager[None]:
        """Have these ranges (offset, length) at hand within the block."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes in a file that is far away."""

    file: Far
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorRef(Named):
    """A tensor in a checkpoint, not read yet.

    Attributes:
        fetch: Gives the tensor that an index selects. It may share memory with the file's mapping
            (privately: writing to it never reaches the file).
        alias: Equal for tensors that are the same view of the same stored bytes (tied weights).
        spans: Says which bytes reading it all takes, where those are far away; otherwise none.
    """

    fetch: Callable[[Index], torch.Tensor] = field(kw_only=True, repr=False, compare=False)
    alias: str | None = field(default=None, kw_only=True, repr=False)
    spans: Callable[[], Sequence[Span]] = field(default=tuple, kw_only=True, repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Bytes its elements take."""
        return self.numel * DTYPE_BITS[self.dtype] // 8

    @property
    def is_sparse(self) -> bool:
        """Whether it is one of PyTorch's sparse tensors."""
        return self.layout.startswith("sparse")

    def view(self, index: Index = ...) -> torch.Tensor:
        """Read without copying where the container allows it: only touched pages are loaded."""
        return self.fetch(index)

    def read(self, index: Index = ...) -> torch.Tensor:
        """Read the part that `index` selects into memory of its own."""
        return self.fetch(index).clone()

    def parts(self, limit: int) -> Iterator[Index]:
        """Indices that select all of it piece by piece, in the order of its elements.

        Args:
            limit: How many bytes a piece has at most; a single element may have more.
        """
        if self.nbytes <= limit:
            yield ...
            return
        row = self.nbytes
        for axis, size in enumerate(self.shape):
            row //= size
            if row <= limit or axis == len(self.shape) - 1:
                step = max(1, limit // row)
                for leading in itertools.product(*map(range, self.shape[:axis])):
                    for start in range(0, size, step):
                        yield (*leading, slice(start, start + step))
                return
        yield ...  # one element

    def __getitem__(self, index: Index) -> torch.Tensor:
        return self.read(index)
