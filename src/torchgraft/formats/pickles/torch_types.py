"""PyTorch's tensors, storages, sizes, devices and dtypes, acted out on plain data."""

from __future__ import annotations

from collections.abc import Mapping

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.derived_tensor import converted, without_values
from torchgraft.formats.pickles.dtypes import DTYPE_ALIASES
from torchgraft.formats.pickles.quantised_tensor import PerChannel, PerTensor, quantised_tensor
from torchgraft.formats.pickles.sparse_tensor import LAYOUTS, sparse_tensor
from torchgraft.formats.pickles.unpacked_tensor import PACKED
from torchgraft.formats.pickles.values import Blob, Budget, Build, Global, apply_call
from torchgraft.formats.pickles.wrapper_tensor import jagged_tensor, nested_tensor, wrapper_tensor
from torchgraft.formats.stored_tensor import Storage, stored_tensor
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["TORCH_TYPES"]

_TENSOR = 40  # a tensor takes 60 bytes or more in a pickle that PyTorch writes
_TENSORS = "it holds far more tensors than honest files of its size"
_REBUILD_JAGGED = "torch.nested._internal.nested_tensor._rebuild_njt"


def _tensor(args: tuple[object, ...], budget: Budget) -> object:
    """`_rebuild_tensor(storage, offset, shape, stride)` and `…_v2(…, requires_grad, hooks, metadata)`."""
    if len(args) < 4 or not isinstance(args[0], Storage):
        return NotImplemented
    budget.spend(_TENSOR, _TENSORS)
    return _make(args[0], args[0].dtype, args[1:4], args[6] if len(args) > 6 else None)


def _tensor_v3(args: tuple[object, ...], budget: Budget) -> object:
    """`_rebuild_tensor_v3(storage, offset, shape, stride, requires_grad, hooks, dtype, metadata)`."""
    if len(args) < 7 or not isinstance(args[0], Storage):
        return NotImplemented
    budget.spend(_TENSOR, _TENSORS)
    if isinstance(args[6], Global):
        return _of_unknown_dtype(args[0], args[6].name, args[2])
    if not isinstance(args[6], str):
        return NotImplemented
    dtype = args[6].removeprefix("torch.")
    return _make(args[0], DTYPE_ALIASES.get(dtype, dtype), args[1:4], args[7] if len(args) > 7 else None)


def _of_unknown_dtype(storage: Storage, dtype: str, shape: object) -> Placeholder:
    """A tensor whose elements are nothing that is known, and the bytes that it looks into."""
    parts = {"bytes": stored_tensor(storage, "uint8", 0, (storage.nbytes,), (1,))}
    state = {"dtype": dtype[:100], "shape": shape, **parts}
    why = f"its dtype, {dtype[:100]}, is not known here"
    return Placeholder("torch.Tensor", state=state, why=why, tensors=parts)


def _make(storage: Storage, dtype: str, view: tuple[object, ...], metadata: object) -> object:
    offset, shape, stride = view
    if dtype not in DTYPE_BITS:
        return _of_unknown_dtype(storage, dtype, shape)
    if dtype.startswith("q"):
        return NotImplemented
    if not isinstance(offset, int) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise TypeError("a tensor without a shape")
    if not isinstance(metadata, Mapping):
        return stored_tensor(storage, dtype, offset, shape, stride)
    conjugate, negative = bool(metadata.get("conj")), bool(metadata.get("neg"))
    return stored_tensor(storage, dtype, offset, shape, stride, conjugate=conjugate, negative=negative)


def _first(args: tuple[object, ...], _budget: Budget) -> object:
    """A parameter: the tensor itself."""
    if not args:
        return NotImplemented
    made = args[0]
    is_tensor = isinstance(made, TensorRef) or (isinstance(made, Placeholder) and made.tensors is not None)
    return made if is_tensor else NotImplemented


def _without_shape(name: str) -> Build:
    """`(requires_grad)`: a parameter or buffer of a lazy module that has not seen an input."""

    def build(args: tuple[object, ...], _budget: Budget) -> object:
        return Placeholder(name, args, why="it has no shape yet: its module is a lazy one that has not run")

    return build


def _nested(args: tuple[object, ...], _budget: Budget) -> object:
    """`_rebuild_nested_tensor(buffer, sizes, strides, offsets)`."""
    made = nested_tensor(args)
    return NotImplemented if made is None else made


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
    known = dtype in DTYPE_BITS and dtype not in PACKED
    return without_values(args[1], dtype, where=budget.where) if known else NotImplemented


def _quantised(args: tuple[object, ...], _budget: Budget) -> object:
    """`(storage, offset, size, stride, (scheme, scale, zero point), …)`, or with scales and an axis."""
    match args:
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), tuple(described), *_):
            pass
        case _:
            return NotImplemented
    quantiser: PerTensor | PerChannel
    match described:
        case (Global(name="torch.per_tensor_affine"), float() | int() as scale, int(zero_point)):
            quantiser = PerTensor(float(scale), zero_point)
        case (
            Global(name="torch.per_channel_affine" | "torch.per_channel_affine_float_qparams"),
            TensorRef() as scales,
            TensorRef() as zero_points,
            int(axis),
        ):
            quantiser = PerChannel(scales, zero_points, axis)
        case _:
            return NotImplemented
    made = quantised_tensor(storage, offset, size, stride, quantiser)
    if made is None:
        why = f"a part of a tensor of {storage.dtype}, of which PyTorch itself can't tell the values"
        return Placeholder("torch._utils._rebuild_qtensor", args, why=why)
    return made


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
    cls = args[1].name if isinstance(args[1], Global) else "torch.Tensor"
    inner = args[2] if isinstance(args[2], tuple) else ()
    jagged = jagged_tensor(cls, inner) if args[0].name == _REBUILD_JAGGED else None
    return jagged or wrapper_tensor(cls, inner, args[3], budget)


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
    "torch._utils._rebuild_nested_tensor": _nested,
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
    **{
        name: _without_shape(name)
        for name in (
            "torch.nn.parameter.UninitializedBuffer",
            "torch.nn.parameter.UninitializedParameter",
        )
    },
    "torch.serialization._get_layout": _layout,
    "torch.storage._load_from_bytes": _nested_file,
}
