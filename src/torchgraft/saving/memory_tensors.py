"""Tensors in memory as what is written: each its own elements only, and tied ones known as tied."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from torchgraft.tensors import TensorRef

__all__ = ["compact", "needs_torch", "refs_of"]

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def refs_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, TensorRef]:
    """The tensors by key; those that are the same view of the same memory have an alias in common."""
    return {key: _ref(key, tensor) for key, tensor in tensors.items()}


def needs_torch(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether only `torch.save` can write them: sparse and quantised ones, and subclasses."""
    return any(
        tensor.layout != torch.strided or tensor.is_quantized or type(tensor) not in _PLAIN
        for tensor in tensors.values()
    )


def compact(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without the memory that they are a part of, which `torch.save` would write as a whole."""
    copies: dict[str, torch.Tensor] = {}
    made: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        alias = _alias(tensor)
        if alias is None or tensor.untyped_storage().nbytes() <= tensor.nbytes:
            copies[key] = tensor
            continue
        if alias not in made:
            made[alias] = tensor.detach().clone(memory_format=torch.contiguous_format)
        copies[key] = made[alias]
    return copies


def _ref(key: str, tensor: torch.Tensor) -> TensorRef:
    dtype = str(tensor.dtype).removeprefix("torch.")
    layout = "" if tensor.layout == torch.strided else str(tensor.layout).removeprefix("torch.")
    fetch = tensor.detach().__getitem__
    return TensorRef(key, tuple(tensor.shape), dtype, fetch=fetch, layout=layout, alias=_alias(tensor))


def _alias(tensor: torch.Tensor) -> str | None:
    """What is equal of tensors that are the same view of the same memory."""
    if type(tensor) not in _PLAIN or tensor.layout != torch.strided or tensor.is_quantized:
        return None
    if not tensor.numel():
        return None
    view = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
    return f"{view} {tensor.is_conj()} {tensor.is_neg()}"
