"""ONNX tensor values that don't lie as they are in memory: varints, and several elements in a byte."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torchgraft.errors import CorruptCheckpointError
from torchgraft.tensors import DTYPE_BITS, Index, TensorRef

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["SUB_BYTE", "from_sub_bytes", "from_varints"]

SUB_BYTE = {21: (4, "uint8"), 22: (4, "int8"), 23: (4, "float32"), 25: (2, "uint8"), 26: (2, "int8")}
"""Bits an element takes, and the dtype it is read as, by ONNX's number of the data type."""

_FLOAT4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The values of float4_e2m1 without their sign, which is the fourth bit."""


def from_varints(
    name: str, where: str, dtype: str, shape: tuple[int, ...], load: Callable[[], memoryview]
) -> TensorRef:
    """A tensor whose elements are varints: whole numbers, or the bits of small floating-point ones.

    Args:
        name: Its key.
        where: The file and the tensor, for messages.
        dtype: PyTorch's name of its dtype.
        shape: Its shape.
        load: Gives the varints.
    """

    def fetch(index: Index) -> torch.Tensor:
        import torch

        numbers = _fit(_decode(load(), math.prod(shape), where), dtype, where)
        stored = torch.from_numpy(numbers)
        return stored.view(getattr(torch, dtype)).view(shape)[index]

    return TensorRef(name, shape, dtype, fetch=fetch)


def from_sub_bytes(
    name: str, where: str, code: int, shape: tuple[int, ...], load: Callable[[], memoryview], *, varints: bool
) -> TensorRef:
    """A tensor of elements of 4 or 2 bits, the first in a byte's lowest ones; each becomes one number.

    Args:
        name: Its key.
        where: The file and the tensor, for messages.
        code: Its data type; one of `SUB_BYTE`.
        shape: Its shape.
        load: Gives the bytes.
        varints: Whether each byte is a varint.
    """
    bits, dtype = SUB_BYTE[code]

    def fetch(index: Index) -> torch.Tensor:
        import numpy as np
        import torch

        numel = math.prod(shape)
        raw = load()
        if varints:
            stored = _fit(_decode(raw, -(-numel * bits // 8), where), "uint8", where)
        else:
            stored = np.frombuffer(raw, np.uint8)
        parts = [(stored >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
        values: np.ndarray[Any, Any] = np.stack(parts, -1).reshape(-1)[:numel]
        if dtype == "int8":
            half = 1 << (bits - 1)
            values = (values ^ half).astype(np.int8) - np.int8(half)
        elif dtype == "float32":
            values = np.array([*_FLOAT4, *(-value for value in _FLOAT4)], np.float32)[values]
        return torch.from_numpy(values).view(shape)[index]

    return TensorRef(name, shape, dtype, fetch=fetch)


def _decode(raw: memoryview, count: int, where: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """So many varints, as signed numbers of 64 bits."""
    import numpy as np

    stored = np.frombuffer(raw, np.uint8)
    ends = np.flatnonzero(stored < 0x80) + 1
    if len(ends) != count or (count and ends[-1] != len(stored)):
        raise CorruptCheckpointError(f"{len(ends)} values are there instead of {count}", where=where)
    starts = np.concatenate([np.zeros(1, ends.dtype), ends[:-1]]) if count else ends
    lengths = ends - starts
    numbers = np.zeros(count, np.uint64)
    longest = int(lengths.max(initial=0))
    if longest > 10:
        raise CorruptCheckpointError("a value takes more than 64 bits", where=where)
    for place in range(longest):
        has = np.flatnonzero(lengths > place)
        digit = (stored[starts[has] + place] & 0x7F).astype(np.uint64)
        if place == 9 and (digit > 1).any():
            raise CorruptCheckpointError("a value takes more than 64 bits", where=where)
        numbers[has] |= digit << np.uint64(7 * place)
    return numbers.view(np.int64)


def _fit(
    numbers: np.ndarray[Any, np.dtype[np.int64]], dtype: str, where: str
) -> np.ndarray[Any, np.dtype[Any]]:
    """The numbers in as many bytes as the dtype takes; they must fit in them."""
    import numpy as np

    if dtype == "bool":
        return np.asarray(numbers != 0).view(np.uint8)
    bits = DTYPE_BITS[dtype]
    if bits == 64:
        return numbers
    unsigned = dtype.startswith("uint")
    low = 0 if unsigned else -(1 << (bits - 1))
    high = 1 << (bits - 1 if dtype.startswith("int") else bits)
    if len(numbers) and not (low <= numbers.min() and numbers.max() < high):
        raise CorruptCheckpointError(f"a value does not fit in {dtype}", where=where)
    return numbers.astype(f"int{bits}" if not unsigned else f"uint{bits}")
