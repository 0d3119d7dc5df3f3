"""PyTorch's tensors, storages, sizes, devices and dtypes, acted out on plain data."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.derived_tensor import converted, without_values
from torchgraft.formats.pickles.quantised_tensor import PerChannel, PerTensor, quantised_tensor
from torchgraft.formats.pickles.sparse_tensor import LAYOUTS, sparse_tensor
from torchgraft.formats.pickles.values import Blob, Budget, Build, Global, apply_call
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


def _first(args: tuple[object, ...], _budget: Budget) -> object:
    """A parameter: the tensor itself."""
    return args[0] if args and isinstance(args[0], TensorRef) else NotImplemented


def _from_device(args: tuple[object, ...], _budget: Budget) -> object:
    """`(tensor or array, dtype, device, requires_grad)`: brought from a device, maybe in another dtype."""
    if len(args) != 4 or not isinstance(args[0], TensorRef) or not isinstance(args[1], str):
        return NotImplemented
    dtype = args[1].removeprefix("torch.")
    return converted(args[0], dtype) if dtype in DTYPE_BITS and dtype[0] != "q" else NotImplemented


def _meta(args: tuple[object, ...], budget: Budget) -> object:
    """`(dtype, size, stride, requires_grad)`: a tensor that never had values."""
    if len(args) != 4 or not isinstance(args[0], str) or not isinstance(args[1], tuple):
        return NotImplemented
    dtype = args[0].removeprefix("torch.")
    return without_values(args[1], dtype, where=budget.where) if dtype in DTYPE_BITS else NotImplemented


def _quantised(args: tuple[object, ...], _budget: Budget) -> object:
    """`(storage, offset, size, stride, (scheme, scale, zero point), …)`, or with scales and an axis."""
    match args:
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), tuple(quantiser), *_):
            pass
        case _:
            return NotImplemented
    match quantiser:
        case (Global(name="torch.per_tensor_affine"), float() | int() as scale, int(zero_point)):
            return quantised_tensor(storage, offset, size, stride, PerTensor(float(scale), zero_point))
        case (
            Global(name="torch.per_channel_affine" | "torch.per_channel_affine_float_qparams"),
            TensorRef() as scales,
            TensorRef() as zero_points,
            int(axis),
        ):
            return quantised_tensor(storage, offset, size, stride, PerChannel(scales, zero_points, axis))
    return NotImplemented


def _sparse(args: tuple[object, ...], budget: Budget) -> object:
    """`(layout, (indices, …, values, size, is_coalesced))`."""
    match args:
        case (str(layout), (TensorRef(), TensorRef(), tuple(size)) as parts):
            coalesced = None
        case (str(layout), (TensorRef(), TensorRef(), tuple(size), None | bool() as coalesced) as parts):
            pass
        case (str(layout), (TensorRef(), TensorRef(), TensorRef(), tuple(size)) as parts):
            coalesced = None
        case _:
            return NotImplemented
    layout = layout.removeprefix("torch.")
    tensors = tuple(part for part in parts if isinstance(part, TensorRef))
    if layout not in LAYOUTS or len(tensors) != (2 if layout == "sparse_coo" else 3):
        return NotImplemented
    return sparse_tensor(layout, tensors, size, coalesced=coalesced, where=budget.where)


def _layout(args: tuple[object, ...], _budget: Budget) -> object:
    """`torch.serialization._get_layout("torch.sparse_coo")`."""
    return args[0] if len(args) == 1 and isinstance(args[0], str) else NotImplemented


def _typed_list(args: tuple[object, ...], _budget: Budget) -> object:
    """TorchScript's lists and dicts of one type: `build_intlist([…])`, `restore_type_tag({…}, "Dict[…]")`."""
    return args[0] if args and isinstance(args[0], (list, dict)) else NotImplemented


def _graph_module(args: tuple[object, ...], _budget: Budget) -> object:
    """`reduce_graph_module(state, imports)`: a traced module (torch.fx), whose code is left aside."""
    if not args or not isinstance(args[0], dict):
        return NotImplemented
    return Placeholder("torch.fx.graph_module.GraphModule", state=args[0])


def _nested_file(args: tuple[object, ...], budget: Budget) -> object:
    """`_load_from_bytes(file)`: what `torch.save` wrote, in a pickle: so `pickle.dumps` writes a storage."""
    from torchgraft.formats.pickles.nested_file import (
        read_nested,  # it reads with the readers that read with this
    )

    if len(args) != 1 or not isinstance(args[0], (Blob, bytes)):
        return NotImplemented
    return read_nested(args[0], budget)


def _from_type(args: tuple[object, ...], budget: Budget) -> object:
    """`_rebuild_from_type_v2(function, subclass, args, state)`: the tensor, without its subclass."""
    if len(args) != 4 or not isinstance(args[0], Global):
        return NotImplemented
    made = apply_call(args[0], args[2], budget)
    if isinstance(made, TensorRef):
        return made
    # A subclass that only wraps other tensors (a DTensor): they are in its state.
    cls = args[1].name if isinstance(args[1], Global) else "torch.Tensor"
    return Placeholder(cls, args[2] if isinstance(args[2], tuple) else (), state=args[3])


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
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_device,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_device,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_xla_tensor": _from_device,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.autograd.variable.Variable": _first,
    "torch.fx.graph_module.reduce_graph_module": _graph_module,
    **{
        f"torch.jit._pickle.{name}": _typed_list
        for name in (
            "build_boollist",
            "build_doublelist",
            "build_intlist",
            "build_tensorlist",
            "restore_type_tag",
        )
    },
    "torch.nn.parameter.Parameter": _first,
    "torch.serialization._get_layout": _layout,
    "torch.storage._load_from_bytes": _nested_file,
}
