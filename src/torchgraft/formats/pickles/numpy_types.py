"""NumPy's scalars and arrays: scalars become Python numbers, arrays tensors over the pickle's own bytes."""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.values import Blob, Budget, Build, Global, OldText
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.storage.far_range import FarRange
from torchgraft.tensors import DTYPE_BITS

__all__ = ["NUMPY_ARRAY", "NUMPY_TYPES", "NumpyDtype", "describe", "finish_array"]

_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "c16": "complex128", "c8": "complex64",
    "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool",
    **{name: name for name in DTYPE_BITS if name.startswith(("bfloat", "float8"))},
}  # fmt: skip
"""Codes of numpy's dtypes, and names of those that the package ml_dtypes adds (JAX writes them)."""
_MAX_DIMENSIONS = 64
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
        made = _array(data, dtype, shape, bool(fortran), budget)
        if made is not NotImplemented:
            return made
    return NotImplemented


def describe(state: object) -> str:
    """What kind of array it is that no tensor can be made of, from its pickled state."""
    dtype = state[-3] if isinstance(state, tuple) and len(state) >= 4 else None
    if not isinstance(dtype, NumpyDtype):
        return "an array of a dtype that is not known"
    kinds = {"O": "objects", "U": "texts", "S": "bytes", "V": "records", "M": "dates", "m": "durations"}
    return f"an array of {kinds.get(dtype.code[:1], f'dtype {dtype.code}')}, which no tensor can hold"


def _array(data: object, dtype: object, shape: object, fortran: bool, budget: Budget) -> object:
    """A tensor over the bytes; `NotImplemented` for dtypes that PyTorch lacks (objects, texts, records)."""
    if isinstance(data, str):  # Python 2's one string type
        data = _raw(data)
    if not isinstance(data, (Blob, bytes)) or not isinstance(dtype, NumpyDtype):
        return NotImplemented
    name = _DTYPES.get(dtype.code)
    if name is None or not isinstance(shape, tuple):
        return NotImplemented
    if not all(type(size) is int and 0 <= size < 1 << 62 for size in shape):
        return NotImplemented
    nbytes = data.size if isinstance(data, Blob) else len(data)
    if len(shape) > _MAX_DIMENSIONS or math.prod(shape) * DTYPE_BITS[name] // 8 != nbytes:
        raise ValueError(f"an array of shape {shape[:9]} and dtype {name} in {nbytes} bytes")
    far: FarRange | None = None
    stride = contiguous_stride(shape[::-1])[::-1] if fortran else contiguous_stride(shape)
    if isinstance(data, Blob):
        key, load = f"{budget.nesting.prefix}array@{data.offset}", data.view
        far = FarRange.of(data.file, data.offset)
    else:
        key, load = f"array#{id(data):x}", functools.partial(_copy, data)
    storage = Storage(budget.where, key, name, nbytes, load, dtype.order == ">", far)
    return stored_tensor(storage, name, 0, shape, stride)


def _raw(text: str) -> bytes:
    return text.raw if isinstance(text, OldText) else text.encode("latin-1")


def _copy(data: bytes) -> memoryview:
    """Writable, as PyTorch wants it. Only short arrays come here; the others stay in the file."""
    return memoryview(bytearray(data))


def _dtype(args: tuple[object, ...], _budget: Budget) -> object:
    if args and isinstance(args[0], Global) and args[0].name.startswith("ml_dtypes."):
        return NumpyDtype(args[0].name.removeprefix("ml_dtypes.")[:100])
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
        raw = _raw(raw)
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
    made = _array(data, dtype, shape, order == "F", budget)
    state = (shape, dtype, order == "F", data)
    return Placeholder(NUMPY_ARRAY, (describe(state),), state) if made is NotImplemented else made


NUMPY_TYPES: dict[str, Build] = {
    "numpy.dtype": _dtype,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}
