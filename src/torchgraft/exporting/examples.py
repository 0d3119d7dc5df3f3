"""Inputs for exporters that run the model: an example to trace it with, and others to compare outputs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.examining import shape_of
from torchgraft.anatomy.example_inputs import guesses
from torchgraft.errors import DataError
from torchgraft.verifying.drawing import redrawn, vocabulary
from torchgraft.verifying.references import input_list
from torchgraft.verifying.running import named, ready, try_outputs

__all__ = ["Call", "call_of", "drawn", "of_batch"]

_MOST_TRIES = 12


@dataclass(frozen=True, slots=True)
class Call:
    """An example as arguments, and what to tell the exporter of the dimensions that may vary."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def shapes(self, batch: object) -> Any:
        """`dynamic_shapes` of `torch.export`: the first dimension of each tensor is `batch`."""

        def vary(value: object) -> Any:
            if isinstance(value, torch.Tensor):
                return {0: batch} if value.ndim else None
            if isinstance(value, Mapping):
                return {key: vary(inner) for key, inner in value.items()}
            if isinstance(value, tuple | list):
                return type(value)(map(vary, value))
            return None

        return {key: vary(value) for key, value in self.kwargs.items()} or tuple(map(vary, self.args))


def call_of(example: object) -> Call:
    """A tensor, a tuple of arguments or a dict of keyword arguments as a call."""
    if isinstance(example, Mapping):
        return Call((), {str(key): value for key, value in example.items()})
    return Call(tuple(example) if isinstance(example, tuple | list) else (example,), {})


def drawn(model: nn.Module, inputs: object) -> list[object]:
    """The user's inputs, one by one; else random ones of the first guess that the model takes.

    Raises:
        DataError: None was found.
    """
    given = input_list(inputs)
    if given is not None:
        return given
    tokens = vocabulary(model)
    failures: list[str] = []
    with ready(model):
        for example, _ in zip(guesses(model), range(_MOST_TRIES), strict=False):
            first = redrawn(example, 0, tokens)
            try:
                try_outputs(model, first)
            except Exception as error:  # somebody else's model may raise anything
                text = str(error).strip().splitlines() or [""]
                failures.append(f"{shape_of(first)}: {type(error).__name__}: {text[0][:200]}")
                continue
            return [redrawn(example, seed, tokens) for seed in range(3)]
    raise DataError(
        "no input was found that it takes; tried"
        + "".join(f"\n    {line}" for line in failures or ["nothing: there is no layer to guess from"]),
        where=named(model),
        hint="inputs=…",
    )


def of_batch(example: object, size: int) -> object:
    """The example with a batch of another size: its entries over and over."""
    if isinstance(example, torch.Tensor):
        if not example.ndim or not example.shape[0]:
            return example
        return example[torch.arange(size, device=example.device) % example.shape[0]]
    if isinstance(example, Mapping):
        return {key: of_batch(value, size) for key, value in example.items()}
    if isinstance(example, tuple | list):
        return type(example)(of_batch(value, size) for value in example)
    return example
