"""The normalisation of images folded into the layers that see them, or exchanged for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from torchgraft.anatomy.mode_rules import plain
from torchgraft.errors import AdaptError
from torchgraft.model_info import attach_info, info_of
from torchgraft.surgery.edits import Edits
from torchgraft.surgery.ends import Ends
from torchgraft.surgery.folding_probe import Folded, FoldingProbe
from torchgraft.surgery.layers import changeable
from torchgraft.surgery.wanted_normalisation import WantedNormalisation

__all__ = ["fold_normalisation"]

_MODES = ("exact", "approximate")


def fold_normalisation(
    model: nn.Module, wanted: object, *, mode: object, example: object, stem: str | Sequence[str] | None
) -> None:
    """Let the model take images that are normalised otherwise, or not at all, and give what it gave.

    With z = (x - mean) / std what it took and z' = (x - mean') / std' what it is to take, z = a·z' + b with
    a = std' / std and b = (mean' - mean) / std. So the first layers' weights become w·a, and Σ w·b goes into
    their bias, or where they have none and a batch norm follows, out of its running mean; else they get a
    bias. Zeros that a layer pads with were `mean` and are `mean'`, so that along the border the response
    changes, unless these are equal. That is measured by a run, and refused unless `mode` is `"approximate"`.

    Raises:
        AnatomyError: The stem can't be told.
        AdaptError: What it takes now is not known, or the response would change.
    """
    if mode not in _MODES:
        raise AdaptError(
            f"there is no mode {mode!r} for the normalisation", hint=f"use one of {', '.join(_MODES)}"
        )
    ends, info, edits = Ends(model, example, stem=stem), info_of(model), Edits()
    sites = ends.sites("stem")
    read = WantedNormalisation.parse(wanted, info.preprocessing, sites[0].channels)
    places: list[str] = []
    for number, site in enumerate(sites):
        module, weight = changeable(model, site, "stem", [other.path for other in sites])
        folded = Folded.of(weight, site, read)
        if read.into is not None:  # it is done again: it was checked then
            into = read.into[number]
        else:
            probe = None if weight.is_meta else FoldingProbe(model, ends.look().example, site)
            if probe is not None:
                probe.check(module, folded, read, border=mode == "approximate")
            into = _place(module, read, probe)
        _collect(model, module, folded, into, edits)
        places.append(into)
    step: dict[str, Any] = {"normalisation": read.to_json(places), "stem": [site.path for site in sites]}
    if mode != "exact":
        step["modes"] = {"normalisation": plain(mode)}
    with edits.made():
        pass
    new = info.preprocessing
    new = replace(new, mean=read.new_mean, std=read.new_std) if new is not None else None
    attach_info(model, replace(info, preprocessing=new, surgery=(*info.surgery, step)))


def _place(module: nn.Module, read: WantedNormalisation, probe: FoldingProbe | None) -> str:
    """Where the shift goes: the layer's bias, or the path of a batch norm behind it; `"none"` if it is 0."""
    if not any(read.shift):
        return "none"
    if getattr(module, "bias", None) is not None or probe is None:
        return "bias"
    return probe.norm_behind(module) or "bias"


def _collect(model: nn.Module, module: nn.Module, folded: Folded, into: str, edits: Edits) -> None:
    dtype = module.get_parameter("weight").dtype
    edits.parameter(module, "weight", folded.weight.to(dtype))
    if into == "none":
        return
    if into != "bias":
        norm: Any = model.get_submodule(into)
        mean = norm.running_mean
        edits.attribute(norm, "running_mean", (mean.double() - folded.shift).to(mean.dtype))
        return
    bias = getattr(module, "bias", None)
    if bias is not None:
        edits.parameter(module, "bias", (bias.detach().double() + folded.shift).to(bias.dtype))
    else:
        edits.attribute(module, "bias", nn.Parameter(folded.shift.to(dtype)))
