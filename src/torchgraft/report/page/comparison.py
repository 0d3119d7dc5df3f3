"""The section that compares experiments: every run a dot, mean and spread beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.page.axis import Axis
from torchgraft.report.quantities import mean_sd

__all__ = ["ComparisonSection", "Contender"]


@dataclass(frozen=True, slots=True)
class Contender:
    """One experiment: its name, its result in each run (one a seed), a remark."""

    label: str
    values: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ComparisonSection:
    """Experiments by one metric, on one axis.

    Attributes:
        contenders: What is compared, in the order in which it is shown; each with one value or more.
        metric: What the values are.
        share: Whether they are shares of 0 to 1, to be shown in percent.
        higher_is_better: Which end is the good one.
    """

    contenders: tuple[Contender, ...]
    metric: str = "accuracy"
    share: bool = True
    higher_is_better: bool = True
    title: str = "How they compare"
    text: str = ""
    template: ClassVar[str] = "comparison.html"

    def view(self) -> Mapping[str, object]:
        """Rows with positions in percent of the axis."""
        values = [value for contender in self.contenders for value in contender.values]
        axis = Axis(values, low=0.0 if self.share else -math.inf, high=1.0 if self.share else math.inf)
        means = [mean_sd(contender.values)[0] for contender in self.contenders]
        best = max(means) if self.higher_is_better else min(means)
        return {
            "text": self.text,
            "metric": self.metric,
            "better": "higher is better" if self.higher_is_better else "lower is better",
            "ticks": [(_at(axis, tick), axis.tick_text(tick, percent=self.share)) for tick in axis.ticks],
            "rows": [self._row(contender, axis, best) for contender in self.contenders],
            "repeated": any(len(contender.values) > 1 for contender in self.contenders),
        }

    def _row(self, contender: Contender, axis: Axis, best: float) -> Mapping[str, object]:
        mean, sd = mean_sd(contender.values)
        spread = 0.0 if math.isnan(sd) else sd
        low, high = max(mean - spread, axis.low), min(mean + spread, axis.high)
        return {
            "label": contender.label,
            "note": contender.note,
            "runs": len(contender.values),
            "best": mean == best and len(self.contenders) > 1,
            "text": self._text(mean, sd),
            "dots": [(_at(axis, value), self._text(value, math.nan)) for value in contender.values],
            "mean": _at(axis, mean),
            "low": _at(axis, low),
            "width": round(_at(axis, high) - _at(axis, low), 2),
        }

    def _text(self, mean: float, sd: float) -> str:
        if self.share:
            return f"{100 * mean:.1f} %" if math.isnan(sd) else f"{100 * mean:.1f} ± {100 * sd:.1f} %"
        return f"{mean:.4g}" if math.isnan(sd) else f"{mean:.4g} ± {sd:.2g}"


def _at(axis: Axis, value: float) -> float:
    return round(100 * axis.at(value), 2)
