"""A chart as shapes with coordinates: lines, ticks, labels at the lines' ends, and the numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.report.page.axis import Axis, LogAxis
from torchgraft.report.quantities import percent
from torchgraft.report.ranges import collapse
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.report.page.curves import Chart, Curve

__all__ = ["drawn"]

_WIDTH, _HEIGHT = 520.0, 290.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 122.0, 16.0, 40.0
_LABEL_GAP = 16.0
_LONGEST_LABEL = 14
_MOST_ROWS = 400
_SHADES = 8
_MOST_SPANS = 1e4  # of a logarithmic axis: the end of a cosine is as good as nothing


def drawn(chart: Chart, colours: Mapping[str, str]) -> Mapping[str, object]:
    """What the template needs of a chart; `points` is what its script needs."""
    groups = collapse(chart.curves, lambda curve: (curve.label, curve.training, curve.raw))
    plot = _Plot.of(chart)
    shades = [round(i * (_SHADES - 1) / max(1, len(groups) - 1)) for i in range(len(groups))]
    lines, ends, points = [], [], []
    for group, shade in zip(groups, shades, strict=True):
        first = group[0]
        colour = f"s{shade}" if chart.ranked else colours[first.label]
        at, mean = _mean(group, chart)
        if len(group) > 1:
            lines += [(colour, "seed", first.training, plot.path(*_line(curve, chart))) for curve in group]
        lines.append((colour, "raw" if first.raw else "mean", first.training, plot.path(at, mean)))
        finite = [i for i, value in enumerate(mean) if math.isfinite(plot.y(value))]
        if finite and not first.raw:
            ends.append(
                (first.label, colour, first.training, plot.x(at[finite[-1]]), plot.y(mean[finite[-1]]))
            )
        if not first.raw:
            points.append(
                {
                    "name": _name(first),
                    "colour": colour,
                    "at": [f"{place:,.0f}" for place in at],
                    "x": [plot.x(place) for place in at],
                    "y": [plot.y(value) if math.isfinite(plot.y(value)) else None for value in mean],
                    "text": [_number(value, chart) for value in mean],
                }
            )
    if chart.ranked and len(ends) > 3:
        ends = [ends[0], ends[-1]]
    solid = [curve for curve in chart.curves if not curve.raw]
    return {
        "title": chart.title,
        "along": chart.along,
        "width": _WIDTH,
        "height": _HEIGHT,
        "x_ticks": [(plot.x(tick), f"{tick:,.0f}") for tick in plot.across.ticks if tick == round(tick)],
        "y_ticks": [(plot.y(tick), plot.up.tick_text(tick, percent=chart.share)) for tick in plot.up.ticks],
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "mark": (plot.x(chart.mark[0]), chart.mark[1]) if chart.mark else None,
        "lines": lines,
        "dots": [(colour, px, py) for _, colour, _, px, py in ends],
        "labels": _spread(ends),
        "summary": _summary(chart, groups),
        "points": {"along": chart.along, "lines": points},
        "columns": [_name(curve) for curve in solid],
        "rows": _rows(chart, solid),
    }


@dataclass(frozen=True, slots=True)
class _Plot:
    """From place and value to pixels."""

    across: Axis
    up: Axis | LogAxis

    @classmethod
    def of(cls, chart: Chart) -> _Plot:
        places = [place for curve in chart.curves for place in _line(curve, chart)[0]] or [chart.first]
        least, most = min(places), max(max(places), min(places) + 1)
        across = Axis([least, most], ticks=int(min(6, max(most - least, 1))), low=least)
        if most - least > 6:  # the line ends where the data does, not at the next round number
            across.high = most
        values = [value for curve in chart.curves for value in curve.values]
        if chart.log:
            greatest = max((value for value in values if math.isfinite(value)), default=1.0)
            return cls(across, LogAxis(values, low=greatest / _MOST_SPANS))
        return cls(across, Axis(values, low=chart.low, high=chart.high))

    def x(self, place: float) -> float:
        return round(_LEFT + self.across.at(place) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        if not math.isfinite(value):
            return math.nan
        return round(_HEIGHT - _BOTTOM - self.up.at(value) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def path(self, places: Sequence[float], values: Sequence[float]) -> str:
        parts, pen_down = [], False
        for place, value in zip(places, values, strict=True):
            py = self.y(value)
            if math.isfinite(py):
                parts.append(f"{'L' if pen_down else 'M'}{self.x(place):g} {py:g}")
            pen_down = math.isfinite(py)
        return " ".join(parts)


def _line(curve: Curve, chart: Chart) -> tuple[Sequence[float], Sequence[float]]:
    return curve.at or range(chart.first, chart.first + len(curve.values)), curve.values


def _mean(group: Sequence[Curve], chart: Chart) -> tuple[Sequence[float], Sequence[float]]:
    """The mean of several seeds as far as all of them go (early stopping ends some sooner)."""
    if len(group) == 1:
        return _line(group[0], chart)
    values = [math.fsum(step) / len(step) for step in zip(*(curve.values for curve in group), strict=False)]
    return _line(group[0], chart)[0][: len(values)], values


def _rows(chart: Chart, curves: Sequence[Curve]) -> list[tuple[str, list[str]]]:
    """The numbers, a row a place; of long series every so many."""
    found = [dict(zip(*_line(curve, chart), strict=True)) for curve in curves]
    places = sorted({place for line in found for place in line})
    every = -(-len(places) // _MOST_ROWS)
    return [
        (f"{place:,.0f}", [_number(line[place], chart) if place in line else "" for line in found])
        for place in places[::every]
    ]


def _spread(ends: Sequence[tuple[str, str, bool, float, float]]) -> list[tuple[str, str, float, float]]:
    """Labels to the right of all lines, as high as the lines end, or moved apart where they would overlap.

    A line has none that is the dashed one of another.
    """
    solid = {label for label, _, training, _, _ in ends if not training}
    own = [end for end in ends if not end[2] or end[0] not in solid]
    ordered = sorted(own, key=lambda end: end[4])
    heights: list[float] = []
    for *_, py in ordered:
        heights.append(max(py, heights[-1] + _LABEL_GAP if heights else _TOP + 4))
    overflow = max(0.0, heights[-1] - (_HEIGHT - _BOTTOM)) if heights else 0.0
    return [
        (_short(label), colour, _WIDTH - _RIGHT + 8, round(height - overflow, 1))
        for (label, colour, *_), height in zip(ordered, heights, strict=True)
    ]


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"


def _summary(chart: Chart, groups: Sequence[Sequence[Curve]]) -> str:
    ends = [
        f"{_name(group[0])} ends at {_number(values[-1], chart)}"
        for group in groups
        if not group[0].raw and len(values := _mean(group, chart)[1])
    ]
    more = f"; and {len(ends) - 12} more" if len(ends) > 12 else ""
    return f"{chart.title} by {chart.along}. {'; '.join(ends[:12])}{more}."


def _name(curve: Curve) -> str:
    label = clean(curve.label, limit=80)
    return f"{label} (training)" if curve.training and label != "training" else label


def _number(value: float, chart: Chart) -> str:
    if not math.isfinite(value):
        return "–"
    if chart.share:
        return percent(value)
    return f"{value:.3g}" if chart.log or 0 < abs(value) < 1e-3 else f"{value:.4f}"
