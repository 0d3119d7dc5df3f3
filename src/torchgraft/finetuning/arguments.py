"""A run's arguments: those that make no sense are refused before anything is read, all are written down."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from torchgraft.errors import TrainingError
from torchgraft.finetuning.runs.reproducing import place

__all__ = ["check_arguments", "noted_arguments"]

_LEAST = {"epochs": 1, "batch_size": 1, "patience": 1, "workers": 0, "max_steps": 1, "checkpoint_every": 1}
_NOT_NOTED = frozenset(
    ("model", "data", "preprocessing", "out", "overwrite", "resume", "on_event", "command", "options")
)


def noted_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `finetune` was called with, by name, its further options among them, for `config.json`.

    The model, the data and how images become inputs are written down in their own places. Objects that no
    file can hold are named by their type.
    """
    named = {**given, **given["options"]}
    noted = {name: _plain(value) for name, value in named.items() if name not in _NOT_NOTED}
    if isinstance(given["val"], (str, os.PathLike)):
        noted["val"] = place(given["val"])
    return noted


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Counts must be whole and large enough, rates above zero; `None` leaves them to the recipe.

    Raises:
        TrainingError: One is not; names it.
    """
    for name, least in _LEAST.items():
        value = arguments[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise TrainingError(f"{name}={value!r} is not a whole number of at least {least}")
    for name, zero in (("lr", False), ("weight_decay", True)):
        value = arguments[name]
        if value is not None and not (0 < value < math.inf or (zero and value == 0)):
            raise TrainingError(f"{name}={value!r} is not a number above 0")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)) and len(value) <= 1000 and all(_is_plain(entry) for entry in value):
        return [_plain(entry) for entry in value]
    return type(value).__name__


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
