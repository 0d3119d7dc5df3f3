"""What comes out of a model, whichever library built it, and the mode it runs in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from torchgraft.errors import TrainingError

__all__ = [
    "eval_mode",
    "logits_of",
    "main_output",
    "maps_of",
    "numbers_of",
    "precise",
]


def main_output(output: object) -> torch.Tensor | None:
    """What a model gives in the first place: a tensor, `.logits`, `["logits"]`, `["out"]`, or a tuple's first
    part; `None` if that is no tensor.
    """
    found = output
    if isinstance(found, Mapping):
        found = found.get("logits", found.get("out"))
    elif not isinstance(found, torch.Tensor):
        found = getattr(found, "logits", found[0] if isinstance(found, (tuple, list)) and found else None)
    return found if isinstance(found, torch.Tensor) else None


def logits_of(output: object) -> torch.Tensor:
    """The class scores (batch, classes).

    Raises:
        TrainingError: There are none.
    """
    found = main_output(output)
    if found is None or found.ndim != 2:
        raise _other(output, found, "class scores (batch, classes)")
    return found


def numbers_of(output: object) -> torch.Tensor:
    """The numbers (batch, numbers); a model may leave out the second dimension of a single one.

    Raises:
        TrainingError: There are none.
    """
    found = main_output(output)
    if found is None or found.ndim not in (1, 2):
        raise _other(output, found, "numbers (batch, numbers)")
    return found[:, None] if found.ndim == 1 else found


def maps_of(output: object) -> torch.Tensor:
    """The scores of each pixel (batch, maps, classes, height, width): the model's, then its `["aux"]`.

    Raises:
        TrainingError: There are none.
    """
    found = main_output(output)
    if found is None or found.ndim != 4:
        raise _other(output, found, "class scores of each pixel (batch, classes, height, width)")
    auxiliary = output.get("aux") if isinstance(output, Mapping) else None
    maps = [found]
    if isinstance(auxiliary, torch.Tensor) and auxiliary.shape == found.shape:
        maps.append(auxiliary)
    return torch.stack(maps, dim=1)


def precise(tensor: torch.Tensor) -> torch.Tensor:
    """As float64, where the device has it."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def _other(output: object, found: torch.Tensor | None, wanted: str) -> TrainingError:
    shape = f" of shape {tuple(found.shape)}" if found is not None else ""
    return TrainingError(
        f"the model's output, {type(output).__name__}{shape}, is not {wanted}",
        hint="task= says what is to be learned: classes, multi-label, regression or segmentation",
    )


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Every part in evaluation mode, and afterwards in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
