"""The page about two checkpoints: what was added, removed, reshaped, changed; how far each layer moved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torchgraft.report.diff_rows import diff_rows
from torchgraft.report.page.distances import distances, is_weight
from torchgraft.report.page.explorer import SCRIPTS, STYLES, Column, State, View, explorer_data, shape_text
from torchgraft.report.page.page import Figure, Page, Section
from torchgraft.report.quantities import plural
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.comparing import Diff, TensorDiff

__all__ = ["DiffSection", "DistanceSection", "diff_page"]

_WHAT = {
    "same": State("same", "same", "=", "no difference, as far as it was compared"),
    "values": State("loaded", "changed", "Δ", "other values"),
    "bits": State("t4", "other bits", "≈", "the same values in other bits: signs of zero, kinds of NaN"),
    "dtype": State("t3", "other dtype", "~", "the same shape in another dtype"),
    "shape": State("adapted", "reshaped", "↔", "another shape"),
    "layout": State("adapted", "other layout", "↔", "its dimensions are in another order"),
    "only in a": State("undeclared", "removed", "−", "in the first only"),
    "only in b": State("t2", "added", "+", "in the second only"),
}
_STEPS = (0.001, 0.01, 0.1, 0.5)
_MOVED = (
    State("same", "not moved", "·", "the same values"),
    State("d1", "under 0.1 %", "▁"),
    State("d2", "0.1 to 1 %", "▂"),
    State("d3", "1 to 10 %", "▄"),
    State("d4", "10 to 50 %", "▆"),
    State("d5", "50 % and more", "█"),
    State("fresh", "not compared", "?", "in one only, or of another shape"),
)
_MOST_ROWS = 200


def diff_page(diff: Diff) -> Page:
    """Two checkpoints side by side."""
    counts = diff.counts
    a, b = (_file(name) for name in (diff.a, diff.b))
    figures = [
        Figure(f"{counts['same']:,}", f"of {plural(len(diff.tensors), 'tensor')} the same"),
        *(
            Figure(f"{counts[what]:,}", f"{_WHAT[what].word}")
            for what in ("values", "dtype", "shape", "only in a", "only in b")
            if what in counts
        ),
    ]
    far, norm = _total(diff.tensors)
    if diff.values and norm:
        figures.append(Figure(_share(far / norm), "moved, of what changed"))
    sections: list[Section] = [DiffSection(diff)]
    if diff.values and far:
        sections.insert(0, DistanceSection(diff))
    said = (
        "names, shapes, dtypes and values"
        if diff.values
        else "names, shapes and dtypes; not values (--values)"
    )
    where = f"{clean(diff.a)} and {clean(diff.b)}. " if (a, b) != (diff.a, diff.b) else ""
    return Page(f"{a} → {b}", f"{where}Compared: {said}.", tuple(sections), tuple(figures))


@dataclass(frozen=True, slots=True)
class DistanceSection:
    """How far each part of the model moved, as a share of its length: what did fine-tuning change?"""

    diff: Diff
    title: str = "How far each layer moved"
    template: ClassVar[str] = "distances.html"

    def view(self) -> Mapping[str, object]:
        """A bar a module, in the checkpoint's order."""
        rows = distances(self.diff.tensors)
        most = max((row.moved for row in rows if math.isfinite(row.moved)), default=0.0) or 1.0
        return {
            "rows": [
                (
                    row.name,
                    f"{row.changed} of {row.tensors}",
                    _share(row.moved),
                    100 * row.moved / most if math.isfinite(row.moved) else 0.0,
                )
                for row in rows
            ],
        }


@dataclass(frozen=True, slots=True)
class DiffSection:
    """Every name that is in either."""

    diff: Diff
    title: str = "Every tensor"
    template: ClassVar[str] = "diff.html"
    scripts: ClassVar[tuple[str, ...]] = SCRIPTS
    styles: ClassVar[tuple[str, ...]] = STYLES

    def view(self) -> Mapping[str, object]:
        """The map's data, and the differences as ranges."""
        rows = diff_rows(self.diff)
        views = self._views()
        return {
            "rows": [(_WHAT[row.what], row) for row in rows[:_MOST_ROWS]],
            "more": max(0, len(rows) - _MOST_ROWS),
            "equal": self.diff.equal,
            "values": self.diff.values,
            "ways": [view.title for view in views],
            "data": self._data(views),
        }

    def _views(self) -> list[View]:
        tensors = self.diff.tensors
        order = list(_WHAT)
        firsts = [order.index(next(iter(tensor.differences), "same")) for tensor in tensors]
        views = [View("What differs", list(_WHAT.values()), firsts)]
        if self.diff.values:
            steps = [len(_MOVED) - 1 if t.values is None else _step(t.values.moved) for t in tensors]
            views.insert(1, View("Distance", _MOVED, steps))
        return views

    def _data(self, views: Sequence[View]) -> Mapping[str, object]:
        tensors = self.diff.tensors
        shapes = [
            tensor.shapes[0] if tensor.shapes[0] is not None else tensor.shapes[1] or () for tensor in tensors
        ]
        compared = [tensor.values for tensor in tensors]
        columns = [
            Column("shape", "shape", [_both(*map(shape_text, tensor.shapes)) for tensor in tensors]),
            Column("dtype", "word", [_both(*tensor.dtypes) for tensor in tensors]),
            Column("elements", "count", [math.prod(shape) for shape in shapes], narrow=not self.diff.values),
        ]
        if self.diff.values:
            columns += [
                Column("moved", "share", [v and v.moved for v in compared], narrow=True),
                Column("distance", "number", [v and v.distance for v in compared]),
                Column("max change", "number", [v and v.max_abs for v in compared]),
                Column("differing", "count", [v and v.differing for v in compared]),
                Column(
                    "NaN in one only", "count", [(v and v.only_nan) or None for v in compared], table=False
                ),
            ]
        return explorer_data(
            "both",
            [tensor.name for tensor in tensors],
            shapes,
            [math.prod(shape) for shape in shapes],
            views,
            columns,
        )


def _file(name: str) -> str:
    return clean(name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name)


def _both(a: str | None, b: str | None) -> str:
    return (a or b or "") if a == b or not a or not b else f"{a} → {b}"


def _total(tensors: Sequence[TensorDiff]) -> tuple[float, float]:
    """The distance of all that changed, counters aside, and their length before."""
    found = [tensor.values for tensor in tensors if tensor.values is not None and is_weight(tensor)]
    return math.hypot(*(v.distance for v in found)), math.hypot(*(v.norm for v in found))


def _step(moved: float) -> int:
    return 0 if moved == 0 else 1 + sum(moved >= step for step in _STEPS)


def _share(moved: float) -> str:
    if moved == 0:
        return "0 %"
    return "from nothing" if math.isinf(moved) else "<0.1 %" if moved < 0.001 else f"{100 * moved:.3g} %"
