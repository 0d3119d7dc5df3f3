"""Another number of input channels for the layers that see the input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from torchgraft.adapting import Change, InputChannels, find_ops
from torchgraft.adapting.in_mode import normal_in_mode
from torchgraft.anatomy.edits import Edits
from torchgraft.anatomy.layers import changeable, common_size
from torchgraft.anatomy.mirrors import STEM_NAMES, mirror
from torchgraft.anatomy.sites import Site

if TYPE_CHECKING:
    from torchgraft.adapting import InMode

__all__ = ["resize_stem"]


def resize_stem(
    model: nn.Module, stems: Sequence[Site], channels: int, in_mode: InMode, edits: Edits
) -> bool:
    """Collect the edits that give every stem `channels` input channels; tell whether there are any.

    Raises:
        AdaptError: A stem can't be changed so.
    """
    have = common_size(stems, "stem")
    changed = [_resize_one(model, site, channels, in_mode, edits) for site in stems]
    if channels != have:
        for site in stems:
            mirror(model, site.path, STEM_NAMES, have, channels, edits)
    return any(changed)


def _resize_one(model: nn.Module, site: Site, channels: int, in_mode: InMode, edits: Edits) -> bool:
    mode = normal_in_mode(in_mode)
    if channels == site.in_size and (isinstance(mode, str) or mode == tuple(range(channels))):
        return False  # nor need it be of a kind that can be changed
    module, weight = changeable(model, site, "stem")
    there = tuple(weight.shape)
    wanted = (there[0], channels, *there[2:])
    change = Change(there, wanted, "stem", {InputChannels.name: mode}, groups=site.groups)
    new = weight.detach()
    for op in find_ops(change):
        new = op.apply(new)
    edits.parameter(module, "weight", new)
    edits.attribute(module, "in_channels" if site.kind == "conv" else "in_features", channels)
    scale = getattr(module, "scale", None)
    if isinstance(scale, float) and hasattr(module, "gain"):
        # timm's weight-standardising convolution computes gamma / sqrt(fan-in) when it is made.
        edits.attribute(module, "scale", scale * math.sqrt(math.prod(there[1:]) / math.prod(wanted[1:])))
    return True
