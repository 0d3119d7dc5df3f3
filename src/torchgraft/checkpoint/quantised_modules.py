"""What PyTorch's quantised modules put in a state dict beside parameters and buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from torchgraft.formats.container import Placeholder
from torchgraft.tensors import Index, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["is_packed_convolution", "is_quantised", "packed_tensors"]

_NAMESPACES = ("torch.ao.nn.quantized.", "torch.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")
_SCRIPT_OBJECTS = ("torch.ScriptObject", "torch._C.ScriptObject")


def is_quantised(class_name: str) -> bool:
    """Whether a class is one of PyTorch's quantised modules."""
    return class_name.startswith(_NAMESPACES)


def is_packed_convolution(node: Placeholder) -> TypeGuard[Placeholder]:
    """Whether it is a quantised convolution, which is pickled as a tuple with its weight and others."""
    state = node.state
    return (
        is_quantised(node.class_name)
        and isinstance(state, tuple)
        and len(state) >= 14
        and isinstance(state[10], TensorRef)
        and state[10].dtype.startswith("q")
    )


def packed_tensors(node: Placeholder) -> dict[str, TensorRef]:
    """Its tensors that are neither parameters nor buffers, with the names that its state dict gives them.

    A pair that a state dict keeps under one name, `_packed_params`, gives two names: with `.0` and `.1`.
    """
    state = node.state
    if isinstance(state, tuple):
        values: dict[str, object] = dict(
            zip(("weight", "bias", "scale", "zero_point"), state[10:14], strict=True)
        )
    else:
        assert isinstance(state, dict)
        values = {name: state[name] for name in ("scale", "zero_point") if name in state}
        packed = state.get("_packed_params")
        if isinstance(packed, Placeholder) and packed.class_name in _SCRIPT_OBJECTS:
            match packed.state:
                case ((first, second), *_):
                    values |= {"_packed_params.0": first, "_packed_params.1": second}
    made: dict[str, TensorRef] = {}
    for name, value in values.items():
        if isinstance(value, TensorRef):
            made[name] = value
        elif isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63):
            made[name] = _number(value)
    return made


def _number(value: float) -> TensorRef:
    def fetch(index: Index) -> torch.Tensor:
        import torch

        return torch.tensor(value)[index]

    return TensorRef("", (), "float32" if isinstance(value, float) else "int64", fetch=fetch)
