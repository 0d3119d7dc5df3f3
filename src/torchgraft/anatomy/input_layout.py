"""How the input's channels lie in what a stem sees, where a model rearranges pixels first: read off a run.

Space-to-depth stems see each channel several times, `Linear` patch stems once for every pixel of a patch. One
channel of the input after another is changed, and the run stopped at the stem, to see where that shows.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from torchgraft.adapting import InputLayout
from torchgraft.anatomy.example_inputs import floating_input, replaced
from torchgraft.anatomy.sites import Site
from torchgraft.anatomy.undisturbed import undisturbed

__all__ = ["channel_axis", "input_layout"]

_log = logging.getLogger(__name__)

_MOST_CHANNELS = 64
"""An axis of more is taken for rows or columns: trying it would take as many runs."""


class _SeenError(Exception):
    """Ends a run of which no more is wanted."""


def channel_axis(shape: tuple[int, ...], site: Site) -> int | None:
    """The axis of the input that the stem sees as its channels; `None` if none has as many."""
    last = len(shape) - 1
    # A video may come with its channels after its frames.
    axes = [1, last, 2] if site.kind == "conv" else [last]
    return next((axis for axis in axes if axis <= last and shape[axis] == site.in_size), None)


def input_layout(model: nn.Module, example: object, site: Site) -> InputLayout | None:
    """Where the input's channels are among the stem's.

    Args:
        model: Left as it was. Run up to the stem, on its device, or the CPU for a model without values.
        example: An input that it takes.
        site: The stem.

    Returns:
        `None` if the stem sees the input as it is, if each of its inputs depends on several channels, or
        if the run can't be made.
    """
    tensor = floating_input(example)
    if tensor is None or site.kind not in ("conv", "linear") or site.groups != 1:
        return None
    shape = tuple(tensor.shape)
    # An image may happen to be as wide as a Linear stem's patch has values: only a look tells.
    if channel_axis(shape, site) is not None and not (site.kind == "linear" and len(shape) == 4):
        return None
    for axis in dict.fromkeys((1, len(shape) - 1)):
        if 0 < axis < len(shape) and shape[axis] <= _MOST_CHANNELS and site.in_size % shape[axis] == 0:
            layout = _along(model, example, site, axis)
            if layout is not None:
                return layout if layout.copies > 1 else None
    return None


def _along(model: nn.Module, example: object, site: Site, axis: int) -> InputLayout | None:
    given = floating_input(example)
    assert given is not None
    shape = list(given.shape)
    channels = shape[axis]
    probes = max(channels, 2)  # one channel alone does not show in which order they are
    shape[axis] = probes
    device = torch.device("cpu") if given.is_meta else given.device
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(shape, generator=generator, dtype=torch.float32).to(device, given.dtype)
    base = _seen(model, site, replaced(example, image))
    if base is None:
        return None
    depends = []
    for channel in range(probes):
        changed = image.clone()
        changed.select(axis, channel).add_(1)
        seen = _seen(model, site, replaced(example, changed))
        if seen is None or seen.shape != base.shape:
            return None
        depends.append((seen != base).any(dim=0))
    table = torch.stack(depends)
    if not bool((table.sum(dim=0) == 1).all()):
        return None
    sources = table.int().argmax(dim=0).tolist()
    copies, rest = divmod(len(sources), probes)
    for layout in (InputLayout(axis, channels, copies, True), InputLayout(axis, channels, copies, False)):
        if not rest and sources == replace(layout, channels=probes).sources:
            return layout
    return None


def _seen(model: nn.Module, site: Site, example: object) -> torch.Tensor | None:
    """What the stem is given, one row a place, one column a channel; `None` if the run does not get there."""
    stem = model.get_submodule(site.path)
    caught: list[torch.Tensor] = []

    def look(_: nn.Module, args: tuple[Any, ...]) -> None:
        caught.append(args[0].detach())
        raise _SeenError

    with undisturbed(model), torch.no_grad():
        handle = stem.register_forward_pre_hook(look)
        try:
            if isinstance(example, dict):
                model(**example)
            else:
                model(*example) if isinstance(example, tuple | list) else model(example)
        except _SeenError:
            pass
        except Exception:  # somebody else's model may raise anything
            _log.debug("the model does not run up to its stem", exc_info=True)
        finally:
            handle.remove()
    if not caught or not isinstance(caught[0], torch.Tensor):
        return None
    seen = caught[0]
    return (seen.movedim(1, -1) if site.kind == "conv" else seen).reshape(
        -1, seen.shape[1 if site.kind == "conv" else -1]
    )
