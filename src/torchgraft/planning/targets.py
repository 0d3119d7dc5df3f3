"""The tensors of a model that a checkpoint can fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchgraft.errors import ModelError
from torchgraft.tensors import Named

__all__ = ["Target", "still_targets", "targets_of", "tensors_of"]


# What attention by windows computes once: Swin's masks, and the coordinates of Swin v2.
_COMPUTED = frozenset({"attn_mask", "attention_mask", "relative_coords_table", "relative_position_index"})


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of the model's state dict and the live tensor behind it.

    Attributes:
        named: Its key, shape and dtype.
        tensor: The parameter or buffer itself.
        owner: The module that holds it.
        attribute: What that module calls it.
        is_buffer: Whether it is a buffer rather than a parameter.
        tied_to: The first key that stands for the same tensor, if this is a further one.
    """

    named: Named
    tensor: torch.Tensor
    owner: nn.Module
    attribute: str
    is_buffer: bool
    tied_to: str | None

    @property
    def requires_no_value(self) -> bool:
        """Whether the model computes it by itself: batch counters, index tables, masks."""
        if not self.is_buffer:
            return False
        computed = self.attribute in _COMPUTED
        return computed or not (self.tensor.is_floating_point() or self.tensor.is_complex())

    def takes(self, dtype: str) -> bool:
        """Whether numbers of this dtype are of the same kind, so that they may be cast."""
        return _kind(dtype) == _kind(self.named.dtype)


def targets_of(model: nn.Module) -> dict[str, Target]:
    """Every tensor of `model.state_dict()`, by key, in its order.

    Raises:
        ModelError: A lazy parameter has no shape yet, or the state dict holds tensors that the model
            computes when asked, which can't be written to.
    """
    owners: dict[int, tuple[nn.Module, str, bool]] = {}
    for module in model.modules():
        buffers = vars(module)["_buffers"]
        for attribute, tensor in tensors_of(module):
            owners.setdefault(id(tensor), (module, attribute, attribute in buffers))
    targets: dict[str, Target] = {}
    first_key: dict[int, str] = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor):
            continue  # get_extra_state() of some module: not weights
        if is_lazy(tensor):
            raise ModelError(
                "has no shape yet (a lazy module)",
                where=key,
                hint="run the model once on an example before loading weights",
            )
        if id(tensor) not in owners:
            raise ModelError(
                "is computed by the model when its state dict is asked for, so it can't be written to",
                where=key,
                hint="load the weights before quantising or parametrising the module",
            )
        named = Named(key, tuple(tensor.shape), _name_of(tensor.dtype))
        targets[key] = Target(named, tensor, *owners[id(tensor)], tied_to=first_key.get(id(tensor)))
        first_key.setdefault(id(tensor), key)
    return targets


def still_targets(targets: Mapping[str, Target], model: nn.Module) -> bool:
    """Whether these are the model's targets now, each the same tensor of the same shape."""
    state = model.state_dict(keep_vars=True)
    tensors = {key: tensor for key, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    return tensors.keys() == targets.keys() and all(
        tensor is targets[key].tensor and tuple(tensor.shape) == targets[key].named.shape
        for key, tensor in tensors.items()
    )


def tensors_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters and buffers that the module itself holds, by its names for them."""
    own = vars(module)  # named_parameters() walks the whole tree each time
    for kind in ("_parameters", "_buffers"):
        for attribute, tensor in own[kind].items():
            if tensor is not None:
                yield attribute, tensor


@cache
def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@cache
def _kind(dtype: str) -> str:
    if dtype.startswith(("float", "bfloat")):
        return "float"
    return dtype.rstrip("0123456789").removeprefix("u")
