"""The section with a reliability diagram: how often the model is right when it is so and so sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.quantities import percent, plural

__all__ = ["CalibrationSection", "ConfidenceBin"]

_SIZE, _LEFT, _TOP, _BOTTOM, _RIGHT = 300.0, 58.0, 10.0, 24.0, 30.0
_COUNTS = 56.0  # height of the counts below


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """Images whose best guess had a probability from `low` to `high`.

    Attributes:
        count: How many there are.
        confidence: Their mean probability.
        accuracy: The share of them that was guessed rightly.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class CalibrationSection:
    """Bars of accuracy over confidence, against the line where both are equal; counts below.

    Attributes:
        bins: In ascending order; empty ones may be left out.
        error: The expected calibration error, the mean distance from the line, if it is known.
    """

    bins: tuple[ConfidenceBin, ...]
    error: float | None = None
    title: str = "How far its confidence can be trusted"
    text: str = ""
    template: ClassVar[str] = "calibration.html"
    styles: ClassVar[tuple[str, ...]] = ("calibration.css",)

    def view(self) -> Mapping[str, object]:
        """The bars' coordinates, the sentence, the table."""
        filled = [each for each in self.bins if each.count]
        total = sum(each.count for each in filled)
        gap = sum(each.count * (each.confidence - each.accuracy) for each in filled) / total if total else 0.0
        most = max((each.count for each in filled), default=1)
        ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
        return {
            "text": self.text,
            "sentence": _sentence(gap, self.error),
            "width": _LEFT + _SIZE + _RIGHT,
            "height": _TOP + _SIZE + _BOTTOM + _COUNTS + 24,
            "size": _SIZE,
            "left": _LEFT,
            "top": _TOP,
            "right": _LEFT + _SIZE,
            "bottom": _TOP + _SIZE,
            "floor": _TOP + _SIZE + _BOTTOM + _COUNTS,
            "x_ticks": [(_x(tick), f"{100 * tick:.0f} %") for tick in ticks],
            "y_ticks": [(_y(tick), f"{100 * tick:.0f} %") for tick in ticks],
            "bars": [_bar(each, most) for each in filled],
            "rows": [
                (
                    f"{100 * each.low:.0f}–{100 * each.high:.0f} %",
                    f"{each.count:,}",
                    percent(each.confidence),
                    percent(each.accuracy),
                )
                for each in filled
            ],
        }


def _sentence(gap: float, error: float | None) -> str:
    if abs(gap) < 0.01:
        verdict = "On the whole it is about as sure as it is right."
    else:
        how = "too sure" if gap > 0 else "not sure enough"
        verdict = f"On the whole it is {how}, by {100 * abs(gap):.1f} points."
    return verdict if error is None else f"{verdict} Expected calibration error: {percent(error)}."


def _x(share: float) -> float:
    return round(_LEFT + min(max(share, 0.0), 1.0) * _SIZE, 1)


def _y(share: float) -> float:
    return round(_TOP + (1 - min(max(share, 0.0), 1.0)) * _SIZE, 1)


def _bar(each: ConfidenceBin, most: int) -> Mapping[str, object]:
    both = min(each.accuracy, each.confidence)
    counted = round(_COUNTS * each.count / most, 1)
    return {
        "x": _x(each.low) + 1,
        "width": round(max(_x(each.high) - _x(each.low) - 2, 0.5), 1),
        "y": _y(both),
        "height": round(_TOP + _SIZE - _y(both), 1),
        "gap_y": _y(max(each.accuracy, each.confidence)),
        "gap_height": round(abs(_y(each.accuracy) - _y(each.confidence)), 1),
        "right_y": _y(each.accuracy),
        "count_y": round(_TOP + _SIZE + _BOTTOM + _COUNTS - counted, 1),
        "count_height": counted,
        "title": f"{percent(each.confidence)} sure on average, {percent(each.accuracy)} right, "
        + plural(each.count, "image"),
    }
