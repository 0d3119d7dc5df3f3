"""The mean loss of an epoch, and a look at every loss that does not make a GPU wait."""

from __future__ import annotations

import math
from typing import Any

import torch

__all__ = ["Losses", "NotFiniteError"]


class NotFiniteError(Exception):
    """A loss is no number any more; `value`, and whatever was noted of its step."""

    def __init__(self, value: float, step: Any) -> None:
        super().__init__(f"the loss became {value}")
        self.value = value
        self.step = step


class Losses:
    """Adds up losses. On a GPU each is looked at when the next step has been queued.

    Args:
        total: Of the steps before, when an epoch goes on.
        count: How many steps that were.

    Attributes:
        last: The newest that was looked at.
    """

    def __init__(self, *, total: float = 0.0, count: int = 0) -> None:
        self.total = total
        self.count = count
        self.last = math.nan
        self._waiting: tuple[torch.Tensor, Any, Any] | None = None

    @property
    def mean(self) -> float:
        """Over the steps that were looked at."""
        return self.total / self.count if self.count else math.nan

    def add(self, loss: torch.Tensor, step: Any) -> None:
        """Take note of a scalar.

        Raises:
            NotFiniteError: It, or on a GPU the one before, is not finite.
        """
        if loss.device.type != "cuda":
            self._take(float(loss), step)
            return
        before = self._waiting
        copied = loss.detach().to("cpu", non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        self._waiting = (copied, arrived, step)
        if before is not None:
            self._look(*before)

    def flush(self) -> None:
        """Look at the last one too."""
        before, self._waiting = self._waiting, None
        if before is not None:
            self._look(*before)

    def _look(self, copied: torch.Tensor, arrived: Any, step: Any) -> None:
        arrived.synchronize()
        self._take(float(copied), step)

    def _take(self, value: float, step: Any) -> None:
        if not math.isfinite(value):
            raise NotFiniteError(value, step)
        self.total += value
        self.last = value
        self.count += 1
