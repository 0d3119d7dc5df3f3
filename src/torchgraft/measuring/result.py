"""What was measured of a tensor: plain numbers, which need no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["BINS", "Histogram", "TensorStats"]

BINS = 28
"""Bars of a histogram."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie where: `BINS` equal steps from `low` to `high`; NaN and infinities in none."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorStats:
    """One tensor's values. Of a complex tensor, real and imaginary parts are values of their own.

    Attributes:
        count: How many values were looked at.
        nan: How many of them are NaN.
        inf: How many are infinite.
        zeros: How many are zero.
        low: The least finite value; NaN where there is none.
        high: The greatest.
        mean: Of the finite values.
        sd: Their standard deviation (of the population).
        histogram: Of the finite values; `None` where there is none.
        twin: The name of the first tensor that holds the same, bit for bit, with the same shape and dtype.
        tied: Whether that one is the same stored bytes rather than a copy.
    """

    count: int
    nan: int
    inf: int
    zeros: int
    low: float
    high: float
    mean: float
    sd: float
    histogram: Histogram | None = None
    twin: str | None = None
    tied: bool = False

    @property
    def dead(self) -> bool:
        """Whether every value is zero."""
        return self.count > 0 and self.zeros == self.count

    @property
    def constant(self) -> bool:
        """Whether it is one value throughout, of two elements and more; zero is `dead` instead."""
        alike = math.isfinite(self.low) and self.low == self.high and not (self.nan or self.inf)
        return alike and self.count > 1 and not self.dead
