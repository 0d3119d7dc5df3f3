"""The tensors in what a model takes or gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

import torch

__all__ = ["tensors_in"]


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """All of them, in order, from tuples, lists, mappings, dataclasses and outputs that hold `logits`."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors_in(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from tensors_in(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from tensors_in(getattr(value, entry.name))
    elif isinstance(logits := getattr(value, "logits", None), torch.Tensor):
        yield logits  # an output object of a class of its own
