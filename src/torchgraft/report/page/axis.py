"""Axes with round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["Axis"]


class Axis:
    """Maps values to positions of 0 to 1 and chooses where the ticks stand.

    Args:
        values: What has to fit. Numbers that aren't finite are left out.
        ticks: About how many steps to divide it into.
        low: The least value that makes sense, such as 0 for a loss; ticks don't go below it.
        high: The greatest, such as 1 for a share.
    """

    def __init__(
        self,
        values: Iterable[float],
        *,
        ticks: int = 4,
        low: float = -math.inf,
        high: float = math.inf,
    ) -> None:
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        least, most = min(finite), max(finite)
        if least == most:
            margin = abs(least) * 0.05 or 0.5
            least, most = max(least - margin, min(low, least)), min(most + margin, max(high, most))
        self.step = _round_step((most - least) / ticks)
        self.low = max(math.floor(least / self.step + 1e-9) * self.step, min(low, least))
        self.high = min(math.ceil(most / self.step - 1e-9) * self.step, max(high, most))

    def at(self, value: float) -> float:
        """The position of a value, 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """The round values on the axis, ascending."""
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return [n * self.step for n in range(first, last + 1)]

    def tick_text(self, value: float, *, percent: bool = False) -> str:
        """A tick's value with as many digits as the step needs."""
        step, value = (self.step * 100, value * 100) if percent else (self.step, value)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}f}{' %' if percent else ''}"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
