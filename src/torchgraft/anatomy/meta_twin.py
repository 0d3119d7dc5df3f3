"""A double of a module without values, on which running costs next to nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["QuickNorms", "meta_twin", "on_meta"]


def meta_twin(module: nn.Module) -> nn.Module:
    """A deep copy whose parameters and buffers are on the meta device; the module's own are not copied."""
    doubles: dict[int, object] = {}
    for parameter in module.parameters():
        doubles[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in module.buffers():
        doubles[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(module, doubles)


def on_meta(value: object) -> Any:
    """An example's tensors without their values, those of floating point as parts of a graph."""
    if isinstance(value, torch.Tensor):
        moved = value.detach().to("meta")
        # not a leaf, for a model may write to its input
        return moved.requires_grad_().clone() if moved.is_floating_point() else moved
    if isinstance(value, Mapping):
        return {key: on_meta(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(on_meta, value))
    return value


_PLACES = {functional.batch_norm: 3, functional.layer_norm: 2}
"""Where these take their weight; the bias comes after it."""


class QuickNorms(TorchFunctionMode):
    """Norms over a batch or a layer by a product and a sum: same shapes, same graph.

    PyTorch takes one without values apart into dozens of steps, which takes longer than computing it.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        place = _PLACES.get(func)
        if place is None or not args:
            return func(*args, **given)
        values = args[0]
        for at, name, combine in ((place, "weight", torch.mul), (place + 1, "bias", torch.add)):
            factor = args[at] if len(args) > at else given.get(name)
            if factor is not None:
                each_channel = func is functional.batch_norm
                shape = (-1, *[1] * (values.ndim - 2)) if each_channel else factor.shape
                values = combine(values, factor.view(shape))
        return values if values is not args[0] else values.clone()
