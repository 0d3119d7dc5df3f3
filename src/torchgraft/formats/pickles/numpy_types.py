"""NumPy's scalars and arrays: scalars become Python numbers, arrays tensors over the pickle's own bytes."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.values import Budget, Build
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.tensors import DTYPE_BITS

__all__ = ["NUMPY_ARRAY", "NUMPY_TYPES", "NumpyDtype", "finish_array"]

_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "c16": "complex128", "c8": "complex64",
    "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool",
}  # fmt: skip
_STRUCT = {
    "f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b",
    "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?",
}  # fmt: skip


@dataclass(slots=True, eq=False)
class NumpyDtype:
    """A NumPy dtype: its code without the byte order, such as `"f4"`, and the byte order."""

    code: str
    order: str = "<"

    def restore(self, state: object) -> None:
        """Its pickled state is `(version, byte order, …)`."""
        if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
            self.order = state[1]

    def __str__(self) -> str:
        return f"numpy dtype {self.code}"


NUMPY_ARRAY = "numpy.ndarray"
"""The placeholder's name of an array whose data has not come yet, or that PyTorch has no dtype for."""


def finish_array(state: object, budget: Budget) -> object:
    """The array of a pickled `(version, shape, dtype, fortran order, data)`, if PyTorch has its dtype."""
    if isinstance(state, tuple) and len(state) >= 4:
        shape, dtype, fortran, data = state[-4:]
        if isinstance(data, str):  # Python 2's one string type
            budget.spend(len(data))
            data = data.encode("latin-1", "replace")
        made = _array(data, dtype, shape, bool(fortran), budget)
        if made is not NotImplemented:
            return made
    return NotImplemented


def _array(data: object, dtype: object, shape: object, fortran: bool, budget: Budget) -> object:
    """A tensor over the bytes; `NotImplemented` for dtypes and byte orders that PyTorch lacks."""
    if not isinstance(data, bytes) or not isinstance(dtype, NumpyDtype) or not isinstance(shape, tuple):
        return NotImplemented
    name = _DTYPES.get(dtype.code)
    if (
        name is None
        or dtype.order == ">"
        or not all(type(size) is int and 0 <= size < 1 << 62 for size in shape)
    ):
        return NotImplemented
    if math.prod(shape) * DTYPE_BITS[name] // 8 != len(data):
        raise ValueError(f"an array of shape {shape} and dtype {name} in {len(data)} bytes")
    stride = contiguous_stride(shape[::-1])[::-1] if fortran else contiguous_stride(shape)
    storage = Storage(
        budget.where, f"array@{id(data):x}", name, len(data), lambda: memoryview(bytearray(data))
    )
    return stored_tensor(storage, name, 0, shape, stride)


def _dtype(args: tuple[object, ...], _budget: Budget) -> object:
    if args and isinstance(args[0], str) and len(args[0]) < 100:
        return NumpyDtype(args[0].lstrip("<|=>"), ">" if args[0].startswith(">") else "<")
    return NotImplemented


def _scalar(args: tuple[object, ...], _budget: Budget) -> object:
    """`numpy.core.multiarray.scalar(dtype, bytes)`."""
    if len(args) != 2:
        return NotImplemented
    dtype, raw = args
    if not isinstance(dtype, NumpyDtype):
        return NotImplemented
    if isinstance(raw, str) and len(raw) <= 32:
        raw = raw.encode("latin-1", "replace")
    code = _STRUCT.get(dtype.code)
    if code is None or not isinstance(raw, bytes):
        return NotImplemented
    return struct.unpack((">" if dtype.order == ">" else "<") + code, raw)[0]


def _reconstruct(_args: tuple[object, ...], _budget: Budget) -> object:
    return Placeholder(NUMPY_ARRAY)


def _from_buffer(args: tuple[object, ...], budget: Budget) -> object:
    """Protocol 5's `_frombuffer(data, dtype, shape, order)`."""
    if len(args) != 4:
        return NotImplemented
    data, dtype, shape, order = args
    return _array(data, dtype, shape, order == "F", budget)


NUMPY_TYPES: dict[str, Build] = {
    "numpy.dtype": _dtype,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}
