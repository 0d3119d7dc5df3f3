"""Quantised tensors that PyTorch itself can save but not copy: they are float32 here.

Two kinds are such: elements of 4 or 2 bits, several in a byte, the first one lowest; and zero points that are
fractions, as PyTorch's quantised embeddings have them. A value is `(stored - zero point) * scale`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.stored_tensor import Storage, stored_tensor
from torchgraft.tensors import Index, Span, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["PACKED", "Scaling", "dequantised_tensor", "packed_numbers"]

PACKED = {"quint4x2": 4, "quint2x4": 2}
"""Bits of an element, by the dtype; a storage of such counts bytes."""

_MAX_SIZE = 1 << 62


@dataclass(frozen=True, slots=True)
class Scaling:
    """A scale and zero point for all elements; or, as tensors, for each index of the dimension `axis`."""

    scale: float | TensorRef
    zero_point: float | TensorRef
    axis: int = -1


def packed_numbers(storage: Storage, shape: tuple[int, ...]) -> TensorRef:
    """The whole numbers that are packed in a storage, as a lazy tensor of uint8.

    Args:
        storage: Of one of the dtypes in `PACKED`, from its first bit on.
        shape: The tensor's shape; its elements lie row by row.

    Raises:
        CorruptCheckpointError: It does not lie within the storage.
    """
    bits = PACKED[storage.dtype]
    possible = len(shape) <= 64 and all(type(size) is int and 0 <= size < _MAX_SIZE for size in shape)
    if (
        not possible
        or math.prod(shape) * bits > 8 * storage.nbytes
        or math.prod(max(size, 1) for size in shape) >= _MAX_SIZE
    ):
        raise CorruptCheckpointError(
            f"a tensor of {bits} bits an element does not fit into its {storage.nbytes} bytes",
            where=storage.where,
        )
    stored = stored_tensor(storage, "uint8", 0, (storage.nbytes,), (1,))
    view = _Packed(stored, shape, bits)
    alias = f"{stored.alias}:{storage.dtype}:{shape}" if stored.alias and math.prod(shape) else None
    return TensorRef("", shape, "uint8", fetch=view.fetch, alias=alias, spans=stored.spans)


def dequantised_tensor(numbers: TensorRef, scaling: Scaling) -> TensorRef:
    """The values of stored whole numbers, as a lazy tensor of float32."""
    view = _Dequantised(numbers, scaling)
    scale, zero = scaling.scale, scaling.zero_point
    known = ":".join(str(part.alias) if isinstance(part, TensorRef) else repr(part) for part in (scale, zero))
    alias = f"{numbers.alias}:{known}:{scaling.axis}" if numbers.alias else None
    return TensorRef("", numbers.shape, "float32", fetch=view.fetch, alias=alias, spans=view.spans)


@dataclass(frozen=True, slots=True)
class _Packed:
    stored: TensorRef
    shape: tuple[int, ...]
    bits: int

    def fetch(self, index: Index) -> torch.Tensor:
        """Of the bytes only those are read that the index selects: a tensor without data tells which."""
        import torch

        picked = torch.empty(self.shape, device="meta")[index]
        if not picked.numel():
            return torch.empty(picked.shape, dtype=torch.uint8)
        each = 8 // self.bits
        first = int(picked.storage_offset())
        last = first + sum(
            (size - 1) * step for size, step in zip(picked.shape, picked.stride(), strict=True)
        )
        raw = self.stored.fetch(slice(first // each, last // each + 1))
        shifts = torch.arange(0, 8, self.bits, dtype=torch.uint8)
        flat = ((raw.unsqueeze(1) >> shifts) & ((1 << self.bits) - 1)).flatten()
        return flat.as_strided(picked.shape, picked.stride(), first % each)


@dataclass(frozen=True, slots=True)
class _Dequantised:
    numbers: TensorRef
    scaling: Scaling

    def fetch(self, index: Index) -> torch.Tensor:
        numbers = self.numbers.fetch(index).float()
        return (numbers - self._picked(self.scaling.zero_point, index)) * self._picked(
            self.scaling.scale, index
        )

    def _picked(self, value: float | TensorRef, index: Index) -> torch.Tensor:
        """What belongs to each element of what the index selects, spread over it without a copy."""
        import torch

        if not isinstance(value, TensorRef):
            return torch.tensor(value, dtype=torch.float32)
        shape, axis = self.numbers.shape, self.scaling.axis
        steps = [0] * len(shape)
        whole = value.fetch(...).float()
        steps[axis] = whole.stride(0)
        return whole.as_strided(shape, steps, whole.storage_offset())[index]

    def spans(self) -> list[Span]:
        """Where its numbers are, and its scales and zero points."""
        parts = (self.numbers, self.scaling.scale, self.scaling.zero_point)
        return [span for part in parts if isinstance(part, TensorRef) for span in part.spans()]
