"""What a model is compared with: another model or function, saved outputs, or an ONNX file of the source."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torchgraft.checkpoint import Checkpoint
from torchgraft.checkpoint import open as open_checkpoint
from torchgraft.errors import DataError
from torchgraft.verifying.onnx_file import OnnxFile
from torchgraft.verifying.running import named

__all__ = ["Reference", "input_list", "reference_of"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One of: something to run, or outputs for each input in turn.

    Attributes:
        name: What to call it.
        runs: A module, a function or an ONNX session.
        saved: The outputs, where they were saved.
    """

    name: str
    runs: nn.Module | Callable[..., object] | OnnxFile | None
    saved: tuple[object, ...] = ()


def input_list(inputs: object) -> list[object] | None:
    """The inputs one by one; those in a file are read. `None` stays so."""
    if inputs is None:
        return None
    values = inputs if isinstance(inputs, list) else [inputs]
    if not values:
        raise DataError("inputs is an empty list", hint="leave it out for random ones")
    return [_saved(value, of="inputs") if isinstance(value, str | os.PathLike) else value for value in values]


def reference_of(reference: object, several: bool) -> Reference:
    """What the user gave.

    Args:
        reference: See `verify`.
        several: Whether inputs came in a list, so that saved outputs do too.

    Raises:
        CheckpointError: The file can't be read.
        DataError: It is nothing to compare with.
        MissingDependencyError: It is an ONNX file, and onnxruntime is absent.
    """
    if isinstance(reference, str | os.PathLike):
        opened = open_checkpoint(reference, select=".")
        if opened.format == "onnx":
            return Reference(opened.name, OnnxFile.of(opened))
        return Reference(opened.name, None, (_content(opened),))
    if isinstance(reference, nn.Module) or (callable(reference) and not isinstance(reference, type)):
        return Reference(named(reference), reference)
    if several and isinstance(reference, list):
        read = [_saved(one, of="outputs") if isinstance(one, str | os.PathLike) else one for one in reference]
        return Reference("saved outputs", None, tuple(read))
    return Reference("saved outputs", None, (reference,))


def _saved(path: str | os.PathLike[str], *, of: str) -> object:
    opened = open_checkpoint(path, select=".")
    if opened.format == "onnx":
        raise DataError(f"an ONNX model holds no {of}", where=opened.name)
    return _content(opened)


def _content(opened: Checkpoint) -> torch.Tensor | dict[str, Any]:
    tensors = {_unrepeated(name): tensor for name, tensor in opened.state_dict().items()}
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _unrepeated(name: str) -> str:
    """The place in the file: of a tensor alone in its list, `open` names the part and then the tensor."""
    half = len(name) // 2
    return name[:half] if len(name) % 2 and name[half] == "." and name[:half] == name[half + 1 :] else name
