"""A double of a module without values, on which running costs next to nothing."""

from __future__ import annotations

import copy

from torch import nn

__all__ = ["meta_twin"]


def meta_twin(module: nn.Module) -> nn.Module:
    """A deep copy whose parameters and buffers are on the meta device; the module's own are not copied."""
    doubles: dict[int, object] = {}
    for parameter in module.parameters():
        doubles[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in module.buffers():
        doubles[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(module, doubles)
