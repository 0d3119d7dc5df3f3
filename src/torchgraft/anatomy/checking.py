"""Whether a model that was changed still runs, and gives what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from torchgraft.anatomy.examining import Examined
from torchgraft.anatomy.example_inputs import floating_input, reshaped
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
    if stems and channels is not None:
        example = _with_channels(example, stems[0], channels)
        if example is None:
            return  # several inputs: which of them has the channels is not known
    try:
        trace = run(model, example)
    except Exception as error:  # somebody else's model may raise anything
        raise AdaptError(
            f"with the new sizes the model fails, so that it depends on them elsewhere too: {error}",
            where=type(model).__name__,
            hint='if other layers see the input or give the classes, name them: stem="…", head="…"',
        ) from error
    if classes is not None and not any(classes in shape for shape in trace.output_shapes):
        shapes = ", ".join(str(list(shape)) for shape in trace.output_shapes)
        raise AdaptError(
            f"with the new head the model gives {shapes}, not {classes} classes", where=type(model).__name__
        )


def _with_channels(example: object, stem: Site, channels: int) -> object:
    tensor = floating_input(example)
    if tensor is None:
        return None
    dims = [1, tensor.ndim - 1] if stem.kind == "conv" else [tensor.ndim - 1]
    for dim in dims:
        if dim < tensor.ndim and tensor.shape[dim] == stem.in_size:
            return reshaped(example, dim, channels)
    raise AdaptError(
        f"takes {stem.in_size} channels, but the input {list(tensor.shape)} has not as many: "
        "it is rearranged on the way",
        where=f"stem {stem.path!r}",
        hint=f'count as the stem does and name it: stem="{stem.path}"',
    )
