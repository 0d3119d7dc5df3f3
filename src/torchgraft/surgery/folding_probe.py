"""Runs of a model up to a layer that sees the image: would it give the same with a folded normalisation?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.example_inputs import floating_input, replaced
from torchgraft.anatomy.input_layout import channel_axis
from torchgraft.anatomy.sites import Site
from torchgraft.anatomy.undisturbed import undisturbed
from torchgraft.errors import AdaptError
from torchgraft.surgery.wanted_normalisation import WantedNormalisation

__all__ = ["Folded", "FoldingProbe"]

_ROUNDING = 1e-6
"""Differences up to this share of the greatest response are rounding: it is computed in float64."""

_EVERYWHERE = 0.9
"""What differs at a larger share of the places does not for its padding."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A layer's new weight, and what its outputs are greater by, one number each; in float64."""

    weight: torch.Tensor
    shift: torch.Tensor

    @classmethod
    def of(cls, weight: torch.Tensor, site: Site, read: WantedNormalisation) -> Folded:
        """What follows for this layer."""
        sources = site.layout.sources if site.layout is not None else range(site.channels)
        wide = weight.detach().double()

        def per_filter(values: list[float]) -> torch.Tensor:
            """For each filter and each channel it sees; filters of a group see the group's."""
            each = wide.new_tensor([values[source] for source in sources]).reshape(site.groups, -1)
            rows = each.repeat_interleave(len(wide) // site.groups, dim=0)
            return rows.reshape(*rows.shape, *(1,) * (wide.ndim - 2))

        return cls(wide * per_filter(read.scale), (wide * per_filter(read.shift)).flatten(1).sum(dim=1))


class FoldingProbe:
    """Runs of the model up to a stem, and on to the layer that takes what it gives."""

    def __init__(self, model: nn.Module, example: object, site: Site) -> None:
        self._model, self._example, self._site = model, example, site

    def check(self, module: nn.Module, folded: Folded, read: WantedNormalisation, *, border: bool) -> None:
        """Hold the folded layer against the layer, on one image that is normalised in both ways.

        Args:
            module: The layer.
            folded: What it is to be.
            read: How images are normalised, before and after.
            border: Whether they may differ at a part of the places, where the image is padded.

        Raises:
            AdaptError: They differ, or it can't be told.
        """
        image = floating_input(self._example)
        where = f"stem {self._site.path!r} ({type(module).__name__})"
        axis = None if image is None else self._axis(tuple(image.shape))
        if image is None or axis is None:
            if border:
                return
            raise AdaptError(
                "it can't be checked what the folded layer gives: which of the inputs is the image is not "
                "known",
                where=where,
                hint='pass an image that it takes, example=…, or modes={"normalisation": "approximate"}',
            )
        random = torch.rand(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        old = self._given(_normalised(random, read.mean, read.std, axis).to(image))
        new = self._given(_normalised(random, read.new_mean, read.new_std, axis).to(image))
        weight = module.get_parameter("weight").detach().double()
        before = _computed(module, weight, old)
        after = _computed(module, folded.weight, new, folded.shift)
        errors = (before - after).abs()
        rounding = max(_ROUNDING, 16 * torch.finfo(image.dtype).eps) * float(before.abs().max())
        share = float((errors > rounding).double().mean())
        padded = share < _EVERYWHERE
        if not share or (padded and border):
            return
        spread = float(errors.max() / before.std())
        changes = (
            f"folding the normalisation changes {share:.1%} of its response, by up to {spread:.2g} of the "
            "response's standard deviation"
        )
        if not padded:
            raise AdaptError(
                f"{changes}: it does not compute with its weight as it is, or the model changes the image "
                "first",
                where=where,
            )
        raise AdaptError(
            f"{changes}: what it is padded with stood for the mean colour, and would stand for another",
            where=where,
            hint='if that may be, modes={"normalisation": "approximate"}; a change of std alone is exact',
        )

    def norm_behind(self, module: nn.Module) -> str | None:
        """The batch norm that takes what the layer gives, by its path."""
        outputs: list[object] = []
        found: list[str] = []

        def remember(_: nn.Module, __: object, output: object) -> None:
            outputs.append(output)

        def look(path: str) -> Any:
            def hook(_: nn.Module, args: tuple[object, ...]) -> None:
                found.extend(path for output in outputs if args and args[0] is output)

            return hook

        with undisturbed(self._model), torch.no_grad():
            handles = [module.register_forward_hook(remember)]
            handles += [
                other.register_forward_pre_hook(look(path))
                for path, other in self._model.named_modules()
                if isinstance(getattr(other, "running_mean", None), torch.Tensor)
            ]
            try:
                _call(self._model, self._example)
            finally:
                for handle in handles:
                    handle.remove()
        return found[0] if len(set(found)) == 1 else None

    def _axis(self, shape: tuple[int, ...]) -> int | None:
        return self._site.layout.axis if self._site.layout is not None else channel_axis(shape, self._site)

    def _given(self, image: torch.Tensor) -> torch.Tensor:
        """What the stem is given for an image."""
        caught: list[torch.Tensor] = []

        def look(_: nn.Module, args: tuple[Any, ...]) -> None:
            caught.append(args[0].detach())

        with undisturbed(self._model), torch.no_grad():
            handle = self._model.get_submodule(self._site.path).register_forward_pre_hook(look)
            try:
                _call(self._model, replaced(self._example, image))
            finally:
                handle.remove()
        return caught[0].double()


def _computed(
    module: nn.Module, weight: torch.Tensor, given: torch.Tensor, shift: torch.Tensor | None = None
) -> torch.Tensor:
    """What the layer gives with this weight and a bias that is greater by `shift`, in float64."""
    twin = copy.copy(module)
    own: dict[str, torch.Tensor | None] = vars(module)["_parameters"]  # those that are None too
    held = {name: None if value is None else value.detach().double() for name, value in own.items()}
    bias = held.get("bias")
    if shift is not None:
        bias = shift if bias is None else bias + shift
    held |= {"weight": weight} | ({"bias": bias} if "bias" in held else {})
    # The copy shares its registries with the layer until it gets one of its own.
    vars(twin)["_parameters"] = {
        name: None if value is None else nn.Parameter(value) for name, value in held.items()
    }
    with torch.no_grad():
        return torch.as_tensor(nn.Module.__call__(twin, given))


def _normalised(image: torch.Tensor, mean: Sequence[float], std: Sequence[float], axis: int) -> torch.Tensor:
    shape = [-1 if place == axis else 1 for place in range(image.ndim)]
    return (image - image.new_tensor(mean).reshape(shape)) / image.new_tensor(std).reshape(shape)


def _call(model: nn.Module, example: object) -> None:
    if isinstance(example, dict):
        model(**example)
    elif isinstance(example, tuple | list):
        model(*example)
    else:
        model(example)
