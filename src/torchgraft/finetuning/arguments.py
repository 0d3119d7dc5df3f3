"""Arguments that make no sense are refused before anything is read."""

from __future__ import annotations

import math
from typing import Any

from torchgraft.errors import TrainingError

__all__ = ["check_arguments"]

_LEAST = {"epochs": 1, "batch_size": 1, "patience": 1, "workers": 0, "max_steps": 1}


def check_arguments(arguments: dict[str, Any]) -> None:
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
