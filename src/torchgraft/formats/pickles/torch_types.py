"""PyTorch's tensors, storages, sizes, devices and dtypes, acted out on plain data."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from torchgraft.formats.pickles.values import Budget, Build, Global, apply_call
from torchgraft.formats.stored_tensor import Storage, stored_tensor
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["TORCH_TYPES", "is_dtype", "storage_dtype"]

_STORAGE_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128", "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32", "UntypedStorage": "uint8",
}  # fmt: skip

_DTYPE_ALIASES = {
    "float": "float32", "double": "float64", "half": "float16", "cfloat": "complex64",
    "cdouble": "complex128",
    "int": "int32", "long": "int64", "short": "int16",
}  # fmt: skip


def is_dtype(name: str) -> bool:
    """Whether `torch.<name>` is a dtype."""
    return name in DTYPE_BITS or name in _DTYPE_ALIASES


def storage_dtype(storage_class: object) -> str:
    """The dtype of the elements of a storage class, such as `torch.FloatStorage` or `torch.cuda.HalfStorage`.

    Raises:
        ValueError: It is no storage class, or one of a dtype that is not supported.
    """
    if isinstance(storage_class, Global):
        dtype = _dtype_of(storage_class.name)
        if dtype is not None:
            return dtype
    name = storage_class.name[:200] if isinstance(storage_class, Global) else type(storage_class).__name__
    raise ValueError(f"{name} is not a storage that is known")


@functools.lru_cache(maxsize=64)
def _dtype_of(storage_class: str) -> str | None:
    return (
        _STORAGE_DTYPES.get(storage_class.rpartition(".")[2]) if storage_class.startswith("torch.") else None
    )


def _tensor(args: tuple[object, ...], _budget: Budget) -> object:
    """`_rebuild_tensor(storage, offset, shape, stride)` and `…_v2(…, requires_grad, hooks, metadata)`."""
    if len(args) < 4 or not isinstance(args[0], Storage):
        return NotImplemented
    return _make(args[0], args[0].dtype, args[1:4], args[6] if len(args) > 6 else None)


def _tensor_v3(args: tuple[object, ...], _budget: Budget) -> object:
    """`_rebuild_tensor_v3(storage, offset, shape, stride, requires_grad, hooks, dtype, metadata)`."""
    if len(args) < 7 or not isinstance(args[0], Storage) or not isinstance(args[6], str):
        return NotImplemented
    dtype = args[6].removeprefix("torch.")
    return _make(args[0], _DTYPE_ALIASES.get(dtype, dtype), args[1:4], args[7] if len(args) > 7 else None)


def _make(storage: Storage, dtype: str, view: tuple[object, ...], metadata: object) -> object:
    offset, shape, stride = view
    if dtype not in DTYPE_BITS or dtype.startswith("q"):
        return NotImplemented
    if not isinstance(offset, int) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise TypeError("a tensor without a shape")
    if not isinstance(metadata, Mapping):
        return stored_tensor(storage, dtype, offset, shape, stride)
    conjugate, negative = bool(metadata.get("conj")), bool(metadata.get("neg"))
    return stored_tensor(storage, dtype, offset, shape, stride, conjugate=conjugate, negative=negative)


def _refused(_args: tuple[object, ...], _budget: Budget) -> object:
    """Quantised and sparse tensors stay placeholders: their stored numbers are not the tensor's values."""
    return NotImplemented


def _first(args: tuple[object, ...], _budget: Budget) -> object:
    """A parameter, and a tensor that was brought from another device: the tensor itself."""
    return args[0] if args and isinstance(args[0], TensorRef) else NotImplemented


def _from_type(args: tuple[object, ...], budget: Budget) -> object:
    """`_rebuild_from_type_v2(function, subclass, args, state)`: the tensor, without its subclass."""
    if len(args) != 4 or not isinstance(args[0], Global):
        return NotImplemented
    made = apply_call(args[0], args[2], budget)
    return made if isinstance(made, TensorRef) else NotImplemented


def _size(args: tuple[object, ...], budget: Budget) -> object:
    if len(args) != 1 or not isinstance(args[0], (tuple, list)):
        return NotImplemented
    budget.spend(len(args[0]))
    return tuple(args[0])


def _device(args: tuple[object, ...], _budget: Budget) -> object:
    """`torch.device("cuda", 0)` as `"cuda:0"`."""
    if 1 <= len(args) <= 2 and all(isinstance(part, (str, int)) for part in args):
        return ":".join(map(str, args))
    return NotImplemented


TORCH_TYPES: dict[str, Build] = {
    "torch.Size": _size,
    "torch.device": _device,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._utils._rebuild_xla_tensor": _first,
    "torch._utils._rebuild_qtensor": _refused,
    "torch._utils._rebuild_sparse_tensor": _refused,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
}
