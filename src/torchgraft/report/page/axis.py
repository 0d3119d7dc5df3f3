"""Axes with round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["Axis", "LogAxis"]

_MOST_DIGITS = 4


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
        if abs(round(step, digits) - step) > 1e-6 * step:  # 0.25 needs a digit more than 0.2
            digits += 1
        if digits > _MOST_DIGITS:
            left = math.floor(math.log10(abs(value))) + 1 if value else 0
            return f"{value:.{max(1, left + digits)}g}"
        grouped = "," if step >= 1 else ""
        return f"{value:{grouped}.{digits}f}{' %' if percent else ''}"


class LogAxis:
    """The same for values that are orders of magnitude apart: each power of ten is as long as another.

    Args:
        values: What has to fit. Only those above 0 count; the others have no place.
        low: The least value that is worth room; smaller ones have no place either.
    """

    def __init__(self, values: Iterable[float], *, low: float = 0.0) -> None:
        positive = [math.log10(value) for value in values if math.isfinite(value) and value > low] or [0.0]
        self.low = math.floor(min(positive) + 1e-9)
        self.high = max(math.ceil(max(positive) - 1e-9), self.low + 1)

    def at(self, value: float) -> float:
        """The position of a value, 0 at the low end, 1 at the high end; `nan` below it."""
        if not value > 0 or math.log10(value) < self.low - 1e-9:
            return math.nan
        return (math.log10(value) - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Powers of ten, ascending; about six of them at most."""
        every = max(1, math.ceil((self.high - self.low) / 6))
        return [10.0**power for power in range(self.low, self.high + 1, every)]

    def tick_text(self, value: float, *, percent: bool = False) -> str:
        """A tick's value."""
        return f"{100 * value:g} %" if percent else f"{value:g}"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
