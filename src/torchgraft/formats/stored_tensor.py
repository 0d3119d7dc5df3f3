"""Tensors over stored bytes: checked when the file is opened, viewed with PyTorch when they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.storage.far_range import FarBytes
from torchgraft.tensors import DTYPE_BITS, Index, Span, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["Storage", "contiguous_stride", "stored_tensor"]

_MAX_DIMENSIONS = 64  # PyTorch's own limit
_MAX_SIZE = 1 << 62
_MAX_OVERLAP = 1 << 30  # bytes: an expanded tensor may be larger than its storage, up to this


@dataclass(slots=True, eq=False)
class Storage:
    """A run of bytes that tensors look into.

    Attributes:
        where: The file and the entry, for messages.
        key: What the file calls it.
        dtype: What its class says its elements are.
        nbytes: How many bytes it has.
        load: Gives them, writable, without a copy where the container allows it.
        swapped: The bytes of each number are in the order of big-endian machines.
        far: Gives parts of them, where they are in a remote file.
    """

    where: str
    key: str
    dtype: str
    nbytes: int
    load: Callable[[], memoryview]
    swapped: bool = False
    far: FarBytes | None = None


def stored_tensor(
    storage: Storage,
    dtype: str,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    *,
    name: str = "",
    conjugate: bool = False,
    negative: bool = False,
) -> TensorRef:
    """A lazy tensor that looks into a storage.

    Args:
        storage: Its bytes.
        dtype: PyTorch's name of its dtype; one of `DTYPE_BITS`.
        offset: Of its first element, in elements.
        shape: Its shape.
        stride: Steps along each dimension, in elements.
        name: Its key.
        conjugate: The stored values are the conjugates of the tensor's.
        negative: The stored values are the negatives of the tensor's.

    Raises:
        CorruptCheckpointError: It does not lie within the storage.
        UnsafeCheckpointError: It shows the same few bytes as a huge tensor.
    """
    if len(shape) != len(stride) or len(shape) > _MAX_DIMENSIONS:
        raise CorruptCheckpointError(
            f"{len(shape)} dimensions and {len(stride)} strides don't fit", where=storage.where
        )
    last = offset
    for size, step in zip(shape, stride, strict=True):
        # Not shown before they are known to be numbers: a nested value could be endless to print.
        if not (type(size) is type(step) is int and 0 <= size < _MAX_SIZE and 0 <= step < _MAX_SIZE):
            raise CorruptCheckpointError("the shape or stride of a tensor is impossible", where=storage.where)
        last += (size - 1) * step
    width = DTYPE_BITS[dtype] // 8
    numel = math.prod(shape)
    if (
        type(offset) is not int
        or not 0 <= offset < _MAX_SIZE
        or (numel and (last + 1) * width > storage.nbytes)
    ):
        raise CorruptCheckpointError(
            f"a tensor of shape {shape}, stride {stride} at {offset} exceeds its {storage.nbytes} bytes",
            where=storage.where,
        )
    if numel * width > storage.nbytes and numel * width > _MAX_OVERLAP:
        raise UnsafeCheckpointError(
            f"a tensor of shape {shape} repeats a storage of {storage.nbytes} bytes", where=storage.where
        )
    if not numel and math.prod(max(size, 1) for size in shape) >= _MAX_SIZE:
        raise CorruptCheckpointError(f"an empty tensor of shape {shape} is impossible", where=storage.where)
    view = _View(storage, dtype, offset, shape, stride, conjugate, negative)
    # Its key alone would do within a file; shards number their storages alike.
    alias = f"{storage.where}:{storage.key}:{offset}:{dtype}:{shape}:{stride}" if numel else None
    if storage.far is None or not numel:
        return TensorRef(name, shape, dtype, fetch=view.fetch, alias=alias)
    return TensorRef(name, shape, dtype, fetch=view.fetch_far, alias=alias, spans=view.spans)


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a tensor that lies row by row."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@dataclass(slots=True, eq=False)
class _View:
    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    conjugate: bool
    negative: bool

    def fetch_far(self, index: Index) -> torch.Tensor:
        """As `fetch`, of those bytes alone that the index selects: a tensor without data tells which."""
        import torch

        numel = self.storage.nbytes * 8 // DTYPE_BITS[self.dtype]
        elements = torch.empty(numel, dtype=torch.uint8, device="meta")
        picked = elements.as_strided(self.shape, self.stride, self.offset)[index]
        part = replace(
            self, offset=int(picked.storage_offset()), shape=tuple(picked.shape), stride=picked.stride()
        )
        if picked.numel():
            begin, length = part.extent()
            assert self.storage.far is not None
            raw = self.storage.far.part(begin, length)
            part = replace(part, offset=0, storage=replace(self.storage, nbytes=length, load=lambda: raw))
        return part.fetch(...)

    def spans(self) -> Sequence[Span]:
        """The bytes that reading all of it takes."""
        return self.storage.far.spans(*self.extent()) if self.storage.far is not None else ()

    def extent(self) -> tuple[int, int]:
        """Where its bytes begin in the storage, and how many there are from the first to the last."""
        width = DTYPE_BITS[self.dtype] // 8
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return self.offset * width, (last + 1) * width

    def fetch(self, index: Index) -> torch.Tensor:
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        if not math.prod(self.shape):
            return torch.empty_strided(self.shape, self.stride, dtype=dtype)[index]
        raw = self.storage.load()
        start = torch.frombuffer(raw, dtype=torch.uint8, count=1).data_ptr()
        if start % dtype.itemsize == 0 and not self.storage.swapped:
            flat = torch.frombuffer(raw, dtype=dtype, count=self.storage.nbytes // dtype.itemsize)
            tensor = flat.as_strided(self.shape, self.stride, self.offset)[index]
        else:
            tensor = self._copy_bytewise(raw, index, dtype)
        if self.conjugate:
            tensor = tensor.conj()
        return tensor.neg() if self.negative else tensor

    def _copy_bytewise(self, raw: memoryview, index: Index, dtype: torch.dtype) -> torch.Tensor:
        """Elements that don't begin at a multiple of their size are copied: arithmetic on them is undefined.

        So are those whose bytes have to be turned round. Only what the index selects is touched: a tensor
        without data tells which elements that is.
        """
        import torch

        numel = self.storage.nbytes // dtype.itemsize
        flat = torch.empty(numel, dtype=dtype, device="meta")
        picked = flat.as_strided(self.shape, self.stride, self.offset)[index]
        if not picked.numel():
            return torch.empty_strided(picked.shape, picked.stride(), dtype=dtype)
        width = dtype.itemsize
        bytewise = torch.frombuffer(raw, dtype=torch.uint8, count=numel * width).as_strided(
            (*picked.shape, width),
            (*(step * width for step in picked.stride()), 1),
            picked.storage_offset() * width,
        )
        # The copy is taken in the order of memory, so that a transposed view stays one.
        order = sorted(range(picked.dim()), key=picked.stride, reverse=True)
        # `contiguous` would copy nothing where the bytes lie in order already.
        packed = bytewise.permute((*order, picked.dim())).clone(memory_format=torch.contiguous_format)
        if self.storage.swapped:  # the two parts of a complex number each
            parts = (*packed.shape[:-1], 2, width // 2) if dtype.is_complex else packed.shape
            packed = packed.reshape(parts).flip(-1).reshape(packed.shape)
        packed = packed.view(dtype).squeeze(-1)
        return packed.permute(tuple(order.index(axis) for axis in range(picked.dim())))
