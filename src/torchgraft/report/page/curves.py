"""The section with training curves: one line chart a metric, any number of runs in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.page.chart_drawing import drawn
from torchgraft.report.ranges import collapse

__all__ = ["Chart", "Curve", "CurvesSection"]

_COLOURS = 6


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's values of a metric. Curves of the same label are seeds of one experiment.

    Attributes:
        label: The experiment.
        values: The values, one an epoch from the first on; `nan` leaves a gap.
        training: Whether they were measured on the training data: drawn dashed.
        at: Where each value was measured, such as steps; ascending. Empty for one an epoch.
        raw: Whether these are the single measurements behind another curve of this label: drawn thin.
    """

    label: str
    values: tuple[float, ...]
    training: bool = False
    at: tuple[float, ...] = ()
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """One metric of several runs.

    Attributes:
        title: The metric, such as `"Validation accuracy"`.
        curves: The runs.
        share: Whether the values are shares of 0 to 1, to be shown in percent.
        first: The number of the first value: 1 where it was measured after the first epoch, 0 where before.
        along: What the horizontal axis counts.
        log: Whether each power of ten takes as much room as another.
        mark: A place on the horizontal axis to draw attention to, and what to call it.
        low: The least value that makes sense.
        ranked: Whether the curves are many, and in an order: one scale of shades then, not a colour each.
    """

    title: str
    curves: tuple[Curve, ...]
    share: bool = False
    first: int = 1
    along: str = "epoch"
    log: bool = False
    mark: tuple[float, str] | None = None
    low: float = 0.0
    ranked: bool = False

    @property
    def high(self) -> float:
        """The greatest value that makes sense."""
        return 1.0 if self.share else math.inf


@dataclass(frozen=True, slots=True)
class CurvesSection:
    """Charts side by side.

    Attributes:
        charts: Those without a curve are left out.
        shared: Whether a label has the same colour in all of them, and stands in a legend above.
    """

    charts: tuple[Chart, ...]
    shared: bool = True
    title: str = "How it was learned"
    text: str = ""
    template: ClassVar[str] = "curves.html"
    styles: ClassVar[tuple[str, ...]] = ("curves.css",)
    scripts: ClassVar[tuple[str, ...]] = ("curves.js",)

    def view(self) -> Mapping[str, object]:
        """The charts as shapes with coordinates, the legend, the numbers."""
        charts = [chart for chart in self.charts if chart.curves]
        colours = _colours(charts)
        curves = [curve for chart in charts for curve in chart.curves]
        views = [drawn(chart, colours if self.shared else _colours([chart])) for chart in charts]
        return {
            "text": self.text,
            "charts": views,
            "legend": list(colours.items()) if self.shared else [],
            "training": self.shared and any(curve.training for curve in curves),
            "raw": any(curve.raw for curve in curves),
            "repeated": any(
                len(group) > 1
                for chart in charts
                for group in collapse(chart.curves, lambda curve: (curve.label, curve.training, curve.raw))
            ),
            "data": [view["points"] for view in views],
        }


def _colours(charts: Sequence[Chart]) -> dict[str, str]:
    labels = dict.fromkeys(c.label for chart in charts if not chart.ranked for c in chart.curves)
    return {label: f"c{i % _COLOURS}" for i, label in enumerate(labels)}
