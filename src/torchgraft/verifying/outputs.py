"""The tensors in what a model returns, by their place in it; which of two such sets belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

import numpy as np
import torch

from torchgraft.errors import DataError

__all__ = ["paired", "tensors_of"]

Outputs = dict[str, torch.Tensor]


def tensors_of(value: object) -> Outputs:
    """Tensors and arrays in nested mappings, sequences and dataclasses, on the CPU; `"output"` is one alone.

    What else there is, such as caches and texts, is no output.
    """
    found = {path or "output": tensor for path, tensor in _walk(value, "")}
    return {path: _plain(tensor) for path, tensor in found.items()}


def _walk(value: object, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        yield path, torch.from_numpy(value.copy())
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, _joined(path, key))
    elif isinstance(value, tuple | list):
        for key, inner in zip(getattr(value, "_fields", range(len(value))), value, strict=True):
            yield from _walk(inner, _joined(path, key))
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from _walk(getattr(value, entry.name), _joined(path, entry.name))
    elif isinstance(logits := getattr(value, "logits", None), torch.Tensor):
        yield _joined(path, "logits"), logits  # an output object of a class of its own


def _joined(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    elif tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.resolve_conj().resolve_neg().cpu().clone()  # the model may write to it when it runs next


def paired(mine: Outputs, theirs: Outputs) -> tuple[dict[str, str], tuple[str, ...]]:
    """Which tensors are compared (this side's place → the other's), and those that one side alone has.

    Equal places belong together. Where there are none, one tensor alone belongs to the only one of its
    shape, and equally many tensors belong together in order if all their shapes are equal.

    Raises:
        DataError: There are no tensors, or nothing says which belong together.
    """
    if not mine or not theirs:
        raise DataError(f"the {'model' if not mine else 'reference'} returns no tensor: nothing to compare")
    pairs = {path: path for path in mine if path in theirs}
    if not pairs and len(mine) == len(theirs):
        pairs = dict(zip(mine, theirs, strict=True))
        if len(pairs) > 1 and any(mine[one].shape != theirs[other].shape for one, other in pairs.items()):
            pairs = {}
    elif not pairs and 1 in (len(mine), len(theirs)):
        same = [(one, other) for one in mine for other in theirs if mine[one].shape == theirs[other].shape]
        pairs = dict(same) if len(same) == 1 else {}
    if not pairs:
        raise DataError(
            f"nothing says which outputs belong together: {_listed(mine)} of the model, "
            f"{_listed(theirs)} of the reference",
            hint="give a reference that returns the same structure: a function that calls it and picks",
        )
    left = [path for path in mine if path not in pairs] + [p for p in theirs if p not in pairs.values()]
    return pairs, tuple(left)


def _listed(outputs: Outputs) -> str:
    shown = [f"{path} {list(tensor.shape)}" for path, tensor in list(outputs.items())[:8]]
    return ", ".join(shown) + (", …" if len(outputs) > 8 else "")
