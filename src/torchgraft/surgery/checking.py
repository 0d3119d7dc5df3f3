"""Whether a model that was changed still runs, and gives what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from torchgraft.anatomy.configs import rows_beyond_labels
from torchgraft.anatomy.detection import detector_in
from torchgraft.anatomy.examining import Examined
from torchgraft.anatomy.example_inputs import floating_input, reshaped
from torchgraft.anatomy.input_layout import channel_axis
from torchgraft.anatomy.sites import Site
from torchgraft.anatomy.tracing import run
from torchgraft.errors import AdaptError

__all__ = ["check_runs"]


def check_runs(
    model: nn.Module, seen: Examined, stems: Sequence[Site], channels: int | None, classes: int | None
) -> None:
    """Run the changed model on the example it was examined with, brought to the new channels.

    Raises:
        AdaptError: It fails, or gives no output of that many classes.
    """
    example = seen.example
    detector = detector_in(model)
    if detector is None and stems and channels is not None:
        example = _with_channels(model, example, stems[0], channels)
        if example is None:
            return  # several inputs: which of them has the channels is not known
    try:
        trace = run(model, example) if detector is None else detector.watched(seen.example)[0]
    except Exception as error:  # somebody else's model may raise anything
        raise AdaptError(
            f"with the new sizes the model fails, so that it depends on them elsewhere too: {error}",
            where=type(model).__name__,
            hint=f"if others than {_seen_ends(seen)} see the input or give the classes, name them: "
            'stem="…", head="…"',
        ) from error
    sizes = set() if classes is None else {classes, classes + rows_beyond_labels(model, classes + 1)}
    if sizes and not any(sizes & set(shape) for shape in trace.output_shapes):
        shapes = ", ".join(str(list(shape)) for shape in trace.output_shapes)
        raise AdaptError(
            f"with the new head the model gives {shapes}, not {classes} classes", where=type(model).__name__
        )


def _seen_ends(seen: Examined) -> str:
    ends = (*seen.anatomy.stems, *seen.anatomy.heads)
    return ", ".join(site.path or "the model itself" for site in ends) or "those"


def _with_channels(model: nn.Module, example: object, stem: Site, channels: int) -> object:
    tensor = floating_input(example)
    if tensor is None:
        return None
    axis = channel_axis(tuple(tensor.shape), stem) if stem.layout is None else stem.layout.axis
    if axis is not None:
        return reshaped(example, axis, channels)
    weight = model.get_submodule(stem.path).weight
    if stem.kind == "conv" and isinstance(weight, torch.Tensor) and tensor.ndim < weight.ndim:
        raise AdaptError(
            f"the input {list(tensor.shape)} has no axis of channels: the model gives it one",
            where=f"stem {stem.path!r}",
        )
    raise AdaptError(
        f"takes {stem.in_size} channels, but the input {list(tensor.shape)} has not as many: each of them is "
        "computed from several of the input's, such as by a change of colour space",
        where=f"stem {stem.path!r}",
        hint=f'count as the stem does and name it: stem="{stem.path}"',
    )
