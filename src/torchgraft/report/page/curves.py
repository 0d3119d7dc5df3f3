"""The section with training curves: one line chart a metric, any number of runs in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.page.axis import Axis
from torchgraft.report.quantities import percent
from torchgraft.report.ranges import collapse

__all__ = ["Chart", "Curve", "CurvesSection"]

_WIDTH, _HEIGHT = 520.0, 290.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 112.0, 12.0, 40.0
_LABEL_GAP = 16.0
_COLOURS = 6
_LONGEST_LABEL = 17


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's values of a metric, one an epoch. Curves of the same label are seeds of one experiment.

    Attributes:
        label: The experiment.
        values: The values, from the first epoch on; `nan` leaves a gap.
        training: Whether they were measured on the training data: drawn dashed.
    """

    label: str
    values: tuple[float, ...]
    training: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """One metric of several runs.

    Attributes:
        title: The metric, such as `"Validation accuracy"`.
        curves: The runs.
        share: Whether the values are shares of 0 to 1, to be shown in percent.
        first: The number of the first value: 1 where it was measured after the first epoch, 0 where before.
    """

    title: str
    curves: tuple[Curve, ...]
    share: bool = False
    first: int = 1


@dataclass(frozen=True, slots=True)
class CurvesSection:
    """Charts side by side; a label has the same colour in all of them."""

    charts: tuple[Chart, ...]
    title: str = "How it was learned"
    text: str = ""
    template: ClassVar[str] = "curves.html"

    def view(self) -> Mapping[str, object]:
        """The charts as shapes with coordinates, the legend, the numbers."""
        labels = list(dict.fromkeys(curve.label for chart in self.charts for curve in chart.curves))
        colours = {label: f"c{i % _COLOURS}" for i, label in enumerate(labels)}
        curves = [curve for chart in self.charts for curve in chart.curves]
        return {
            "text": self.text,
            "charts": [_draw(chart, colours) for chart in self.charts if chart.curves],
            "legend": [(label, colours[label]) for label in labels],
            "training": any(curve.training for curve in curves),
            "repeated": any(
                len(group) > 1
                for chart in self.charts
                for group in collapse(chart.curves, lambda curve: (curve.label, curve.training))
            ),
        }


def _draw(chart: Chart, colours: Mapping[str, str]) -> Mapping[str, object]:
    groups = collapse(chart.curves, lambda curve: (curve.label, curve.training))
    longest = max(len(curve.values) for curve in chart.curves)
    x = Axis(
        [chart.first, chart.first + max(longest - 1, 1)], ticks=min(6, max(longest - 1, 1)), low=chart.first
    )
    y = Axis(
        (value for curve in chart.curves for value in curve.values),
        low=0.0,
        high=1.0 if chart.share else math.inf,
    )
    plot = _Plot(x, y, chart.first)
    lines, ends = [], []
    for group in groups:
        label, training, colour = group[0].label, group[0].training, colours[group[0].label]
        mean = _mean([curve.values for curve in group])
        if len(group) > 1:
            lines += [(colour, training, "seed", plot.path(curve.values)) for curve in group]
        lines.append((colour, training, "mean", plot.path(mean)))
        if finite := [(i, value) for i, value in enumerate(mean) if math.isfinite(value)]:
            ends.append((label, colour, training, *plot.point(*finite[-1])))
    return {
        "title": chart.title,
        "width": _WIDTH,
        "height": _HEIGHT,
        "x_ticks": [(plot.x(tick), f"{tick:.0f}") for tick in x.ticks if tick == round(tick)],
        "y_ticks": [(plot.y(tick), y.tick_text(tick, percent=chart.share)) for tick in y.ticks],
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "bottom": _HEIGHT - _BOTTOM,
        "lines": lines,
        "dots": [(colour, px, py) for _, colour, _, px, py in ends],
        "labels": _spread(ends),
        "summary": _summary(chart, groups),
        "columns": [_name(curve) for curve in chart.curves],
        "rows": [
            (
                chart.first + i,
                [
                    _number(curve.values[i], chart.share) if i < len(curve.values) else ""
                    for curve in chart.curves
                ],
            )
            for i in range(longest)
        ],
    }


@dataclass(frozen=True, slots=True)
class _Plot:
    """From epoch and value to pixels."""

    x_axis: Axis
    y_axis: Axis
    first: int

    def x(self, epoch: float) -> float:
        return round(_LEFT + self.x_axis.at(epoch) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - self.y_axis.at(value) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def point(self, index: int, value: float) -> tuple[float, float]:
        return self.x(self.first + index), self.y(value)

    def path(self, values: Sequence[float]) -> str:
        parts, pen_down = [], False
        for i, value in enumerate(values):
            if math.isfinite(value):
                px, py = self.point(i, value)
                parts.append(f"{'L' if pen_down else 'M'}{px} {py}")
            pen_down = math.isfinite(value)
        return " ".join(parts)


def _mean(runs: Sequence[tuple[float, ...]]) -> list[float]:
    """The mean of several seeds as far as all of them go (early stopping ends some sooner)."""
    return [math.fsum(step) / len(step) for step in zip(*runs, strict=False)]


def _spread(ends: Sequence[tuple[str, str, bool, float, float]]) -> list[tuple[str, str, float, float]]:
    """Labels beside the lines' ends, moved apart where they would overlap; training lines have none."""
    solid = [end for end in ends if not end[2]] or list(ends)
    ordered = sorted(solid, key=lambda end: end[4])
    heights: list[float] = []
    for *_, py in ordered:
        heights.append(max(py, heights[-1] + _LABEL_GAP if heights else _TOP + 4))
    overflow = max(0.0, heights[-1] - (_HEIGHT - _BOTTOM)) if heights else 0.0
    return [
        (_short(label), colour, px + 8, round(height - overflow, 1))
        for (label, colour, _, px, _), height in zip(ordered, heights, strict=True)
    ]


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"


def _summary(chart: Chart, groups: Sequence[Sequence[Curve]]) -> str:
    ends = [
        f"{_name(group[0])} ends at {_number(mean[-1], chart.share)}"
        for group in groups
        if (mean := _mean([curve.values for curve in group]))
    ]
    return f"{chart.title} by epoch. {'; '.join(ends)}."


def _name(curve: Curve) -> str:
    return f"{curve.label} (training)" if curve.training else curve.label


def _number(value: float, share: bool) -> str:
    if not math.isfinite(value):
        return "–"
    return percent(value) if share else f"{value:.4f}"
