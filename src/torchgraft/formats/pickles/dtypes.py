"""PyTorch's names of dtypes, and of the storage classes that stand for them in a pickle."""

from __future__ import annotations

import functools

from torchgraft.formats.pickles.values import Global
from torchgraft.tensors import DTYPE_BITS

__all__ = ["DTYPE_ALIASES", "is_dtype", "storage_dtype"]

_STORAGE_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128", "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4", "UntypedStorage": "uint8",
}  # fmt: skip

DTYPE_ALIASES = {
    "float": "float32", "double": "float64", "half": "float16", "cfloat": "complex64",
    "cdouble": "complex128",
    "int": "int32", "long": "int64", "short": "int16",
}  # fmt: skip


def is_dtype(name: str) -> bool:
    """Whether `torch.<name>` is a dtype."""
    return name in DTYPE_BITS or name in DTYPE_ALIASES


def storage_dtype(storage_class: object) -> str:
    """The dtype of the elements of a storage class, such as `torch.FloatStorage` or `torch.cuda.HalfStorage`.

    Of a class that PyTorch got later, its name: `"UInt3Storage"`, which is none of `DTYPE_BITS`.

    Raises:
        ValueError: It is no storage class.
    """
    if isinstance(storage_class, Global):
        dtype = _dtype_of(storage_class.name)
        if dtype is not None:
            return dtype
    name = storage_class.name[:200] if isinstance(storage_class, Global) else type(storage_class).__name__
    raise ValueError(f"{name} is not a storage that is known")


@functools.lru_cache(maxsize=64)
def _dtype_of(storage_class: str) -> str | None:
    name = storage_class.rpartition(".")[2]
    if not storage_class.startswith("torch.") or not name.endswith("Storage"):
        return None
    return _STORAGE_DTYPES.get(name, name[:100])
