"""A model whose parameters lie in parts on several processes, seen as one that is whole."""

from __future__ import annotations

import copy
import functools
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from torchgraft.errors import AdaptError

__all__ = ["check_whole", "class_name", "is_sharded", "unsharded"]

_SPREADING = ("torch.distributed.", "transformers.integrations.tensor_parallel")
"""Modules whose hooks gather parameters and hand inputs round."""


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether this process holds only a part of it (a `DTensor`, even one that is replicated)."""
    module = sys.modules.get("torch.distributed.tensor")  # importing it takes as long as PyTorch itself
    return module is not None and isinstance(tensor, module.DTensor)


def class_name(model: nn.Module) -> str:
    """What the model's class is called, before `fully_shard` made another of it."""
    return _own_class(model).__name__


def check_whole(model: nn.Module) -> None:
    """Refuse to change the sizes of a model that is spread over processes.

    Raises:
        AdaptError: It is.
    """
    spread = next((name for name, parameter in model.named_parameters() if is_sharded(parameter)), None)
    if spread is not None:
        raise AdaptError(
            "is spread over processes, which hold parts of its present size",
            where=spread,
            hint="adapt the model before it is spread: on the meta device, from where graft fills it",
        )


def unsharded(model: nn.Module) -> nn.Module:
    """The model itself if it is whole; else one of its shapes on the meta device, which asks nobody else.

    Names, shapes, dtypes and ties are the model's. Hooks that gather parameters are gone, other ones stay.
    """
    if not any(is_sharded(parameter) for parameter in model.parameters()):
        return model
    doubles: dict[int, Any] = {}
    for parameter in model.parameters():
        doubles[id(parameter)] = nn.Parameter(_whole_on_meta(parameter), parameter.requires_grad)
    for buffer in model.buffers():
        doubles[id(buffer)] = _whole_on_meta(buffer)
    remade = []
    for module in model.modules():
        for name, value in vars(module).items():
            if name.startswith("__composable_api"):
                doubles[id(value)] = OrderedDict()  # holds process groups, which can't be copied
            elif name.endswith("_hooks") and isinstance(value, dict):
                doubles[id(value)] = _local_hooks(value)
        own = _own_class(module)
        if own is not type(module):  # `fully_shard` forbids to copy it
            doubles[id(module)] = twin = object.__new__(own)
            remade.append((module, twin))
    for module, twin in remade:
        vars(twin).update({name: copy.deepcopy(value, doubles) for name, value in vars(module).items()})
    return copy.deepcopy(model, doubles)


def _own_class(module: nn.Module) -> type[nn.Module]:
    place = getattr(type(module), "_orig_cls_mro_index", None)
    return type(module) if place is None else type(module).__mro__[place]


def _whole_on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _local_hooks(hooks: Mapping[Any, Any]) -> OrderedDict[Any, Any]:
    return OrderedDict((number, hook) for number, hook in hooks.items() if not _spreads(hook))


def _spreads(hook: object) -> bool:
    while isinstance(hook, functools.partial):
        hook = hook.func
    return (getattr(hook, "__module__", None) or "").startswith(_SPREADING)
