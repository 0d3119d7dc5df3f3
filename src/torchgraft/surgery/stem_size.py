"""Another number of input channels for the layers that see the input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from torchgraft.adapting import Change, InputChannels, find_ops
from torchgraft.adapting.in_mode import normal_in_mode
from torchgraft.anatomy.mode_rules import ModeRules
from torchgraft.anatomy.sites import Site
from torchgraft.surgery.edits import Edits
from torchgraft.surgery.grouped_stems import dense_weight
from torchgraft.surgery.layers import changeable, common_size
from torchgraft.surgery.mirrors import STEM_NAMES, mirror

__all__ = ["resize_stem"]


def resize_stem(
    model: nn.Module, stems: Sequence[Site], channels: int, rules: ModeRules, edits: Edits
) -> bool:
    """Collect the edits that give every stem `channels` input channels; tell whether there are any.

    Raises:
        AdaptError: A stem can't be changed so.
    """
    have = common_size(stems, "stem")
    changed = [_resize_one(model, site, channels, rules, edits) for site in stems]
    if channels != have:
        for site in stems:
            mirror(model, site.path, STEM_NAMES, have, channels, edits)
    return any(changed)


def _resize_one(model: nn.Module, site: Site, channels: int, rules: ModeRules, edits: Edits) -> bool:
    modes = rules.of(f"{site.path}.weight" if site.path else "weight")
    mode = normal_in_mode(Change((), (), "stem", modes).mode(InputChannels.name, "repeat"))
    if channels == site.channels and (isinstance(mode, str) or mode == tuple(range(channels))):
        return False  # nor need it be of a kind that can be changed
    module, weight = changeable(model, site, "stem")
    new = weight.detach() if site.groups == 1 else dense_weight(module, site)
    there = tuple(new.shape)
    wanted = (there[0], channels * (site.layout.copies if site.layout is not None else 1), *there[2:])
    for op in find_ops(Change(there, wanted, "stem", modes, place=site.layout)):
        new = op.apply(new)
    edits.parameter(module, "weight", new)
    size_name = "in_channels" if site.kind == "conv" else "in_features"
    edits.attribute(module, size_name, wanted[1])
    if site.groups != 1:
        edits.attribute(module, "groups", 1)
    scale = getattr(module, "scale", None)
    if isinstance(scale, float) and hasattr(module, "gain"):
        edits.attribute(module, "scale", _rescaled(scale, math.prod(there[1:]), math.prod(wanted[1:])))
    return True


def _rescaled(scale: float, fan_in: int, wanted: int) -> float:
    """What timm's weight-standardising convolution computes when it is made: gamma / sqrt(fan-in).

    Its gammas are float32 numbers, so that where one gives `scale` to the bit, it is the one.
    """
    gamma = scale / fan_in**-0.5
    single = torch.tensor(gamma, dtype=torch.float32, device="cpu").item()
    return float((single if single * fan_in**-0.5 == scale else gamma) * wanted**-0.5)
