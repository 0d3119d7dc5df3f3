"""A grouped first layer as the dense one that it equals, which can take other input channels."""

from __future__ import annotations

import copy

import torch
from torch import nn

from torchgraft.adapting.channel_weights import densified
from torchgraft.anatomy.sites import Site
from torchgraft.errors import AdaptError

__all__ = ["dense_weight"]


def dense_weight(module: nn.Module, site: Site) -> torch.Tensor:
    """The weight with which the layer gives the same as a convolution of one group.

    With groups, a further channel would have to go to one of them, and the channels after it would change
    theirs. The dense layer gives what the grouped one does and lets every filter see every channel.

    Raises:
        AdaptError: The layer computes with its weight otherwise, such as by standardising it.
    """
    weight = module.get_parameter("weight").detach()
    dense = densified(weight, site.groups)
    if weight.is_meta or site.groups == 1:
        return dense
    twin = copy.copy(module)
    # The copy shares its registries with the layer until it gets one of its own.
    vars(twin)["_parameters"] = {**vars(module)["_parameters"], "weight": nn.Parameter(dense)}
    vars(twin)["groups"] = 1
    generator = torch.Generator().manual_seed(0)
    sides = [2 * size + 1 for size in weight.shape[2:]]
    image = torch.rand((1, site.in_size, *sides), generator=generator).to(weight)
    with torch.no_grad():
        wanted, given = nn.Module.__call__(module, image), nn.Module.__call__(twin, image)
    tolerance = 64 * torch.finfo(weight.dtype).eps * float(wanted.abs().max())
    if wanted.shape != given.shape or float((wanted - given).abs().max()) > tolerance:
        raise AdaptError(
            f"its input channels can't be changed: it is a convolution of {site.groups} groups whose class "
            "does not compute with its weight as it is, so that it equals no dense one",
            where=f"stem {site.path!r} ({type(module).__name__})",
        )
    return dense
