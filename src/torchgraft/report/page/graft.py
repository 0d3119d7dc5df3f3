"""The section that shows a graft: the model as a map, each tensor by its fate; what to do if refused."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torchgraft.report.field_words import field_words
from torchgraft.report.page.explorer import (
    SCRIPTS,
    STYLES,
    Column,
    Plot,
    State,
    View,
    explorer_data,
    shape_text,
)
from torchgraft.report.page.remedies import remedies
from torchgraft.report.plan_rows import done, evidence, source_rows, target_rows
from torchgraft.report.quantities import compact, percent
from torchgraft.report.safe_text import clean
from torchgraft.report.statuses import STATUSES, gate_advice, status_of

if TYPE_CHECKING:
    from torchgraft.measuring import Histogram
    from torchgraft.planning import Plan, SourceEntry, TargetEntry

__all__ = ["GraftSection"]

_FATES = ("loaded", "adapted", "fresh", "undeclared", "unused")
_MOST_ROWS = 200
_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class GraftSection:
    """What was loaded, adapted and left fresh, and what of the checkpoint was not used.

    Attributes:
        plan: What to show.
        values: By the model's names, how the values of a tensor lie in the checkpoint and in the model.
        script: The plan as a Python module (`Plan.python`), to be copied from the page; empty for none.
    """

    plan: Plan
    title: str = "What went where"
    text: str = ""
    values: Mapping[str, tuple[Histogram, Histogram]] = field(default_factory=dict, repr=False)
    script: str = field(default="", repr=False)
    template: ClassVar[str] = "graft.html"
    scripts: ClassVar[tuple[str, ...]] = SCRIPTS
    styles: ClassVar[tuple[str, ...]] = STYLES

    def view(self) -> Mapping[str, object]:
        """The map's data, the tables, the totals."""
        plan = self.plan
        numel = Counter[str]()
        for entry in plan.targets:
            numel[status_of(entry).key] += entry.numel
        total = sum(numel.values())
        verdict, advice = gate_advice(plan)
        file = plan.checkpoint.replace("\\", "/").rpartition("/")[2]
        changed = [row for row in target_rows(plan) if row.status.key != "loaded"] + source_rows(plan)
        return {
            "text": self.text,
            "model": clean(plan.model),
            "match": clean(plan.match, limit=_LONGEST),
            "doubts": [clean(doubt, limit=_LONGEST) for doubt in plan.doubts[:_MOST_ROWS]],
            "notes": [clean(note, limit=_LONGEST) for note in plan.notes[:_MOST_ROWS]],
            "folder": clean(plan.checkpoint[: len(plan.checkpoint) - len(file)]),
            "file": clean(file),
            "verdict": verdict,
            "advice": advice,
            "coverage": f"{percent(plan.coverage)} of {compact(total)} elements come from the checkpoint",
            "bar": [
                (
                    STATUSES[key],
                    100 * numel[key] / total,
                    f"{STATUSES[key].word} {percent(numel[key] / total)}",
                )
                for key in _FATES
                if numel[key]
            ],
            "changed": changed[:_MOST_ROWS],
            "more": len(changed) - len(changed[:_MOST_ROWS]),
            "remedies": remedies(plan) if advice else [],
            "script": self.script,
            "data": self._data(),
        }

    def _data(self) -> Mapping[str, object]:
        plan = self.plan
        unused = [entry for entry in plan.sources if entry.status == "unused"]
        entries: list[TargetEntry | SourceEntry] = [*plan.targets, *unused]
        states = [STATUSES[key] for key in _FATES]
        number = {status.key: at for at, status in enumerate(states)}
        targets = plan.targets
        none = [None] * len(unused)
        words, others = field_words(plan)
        unexpected = [
            word for entry, word in zip(plan.sources, others, strict=True) if entry.status == "unused"
        ]
        columns = [
            Column("PyTorch says", "word", [*words, *unexpected], search=True),
            Column("shape", "shape", [shape_text(entry.shape) for entry in entries]),
            Column("elements", "count", [math.prod(entry.shape) for entry in entries], narrow=True),
            Column("from", "key", [*(_from(entry) for entry in targets), *none], search=True),
            Column(
                "its shape", "shape", [*(shape_text(e.source_shape) for e in targets), *none], table=False
            ),
            Column("done on the way", "text", [*(done(entry) for entry in targets), *none], table=False),
            Column("evidence", "text", [evidence(entry) for entry in entries], search=True),
            Column("others of its shape", "count", [*_others(plan), *none], table=False),
            Column("unused of its shape", "key", [*_runners_up(plan), *none], table=False),
            Column("role", "text", [*(entry.role for entry in targets), *none], table=False),
            Column(
                "dtype",
                "text",
                [*(_dtypes(e.source_dtype, e.dtype) for e in targets), *(e.dtype for e in unused)],
                table=False,
            ),
            Column(
                "kind",
                "text",
                [*("buffer" if e.buffer else "parameter" for e in targets), *none],
                table=False,
            ),
        ]
        pairs = [(i, self.values[entry.name]) for i, entry in enumerate(targets) if entry.name in self.values]
        plots = [
            Plot(title, {i: (pair[side].low, pair[side].high, pair[side].counts) for i, pair in pairs})
            for side, title in enumerate(("in the checkpoint", "in the model"))
        ]
        return explorer_data(
            plan.model,
            [entry.name for entry in entries],
            [entry.shape for entry in entries],
            [math.prod(entry.shape) for entry in entries],
            [
                View(
                    "Status",
                    [State(s.key, _word(s.key), s.symbol, s.meaning) for s in states],
                    [number[status_of(entry).key] for entry in entries],
                )
            ],
            columns,
            plots=plots if pairs else (),
            roots=((plan.model, "unused in the checkpoint"), [0] * len(targets) + [1] * len(unused))
            if unused
            else None,
        )


def _word(key: str) -> str:
    return "fresh, undeclared" if key == "undeclared" else STATUSES[key].word


def _from(entry: TargetEntry) -> str | None:
    """The keys that it is made of, or the one that would not fit; nothing where there is none."""
    return ", ".join(entry.sources) or entry.source


def _dtypes(stored: str | None, wanted: str) -> str:
    return wanted if stored in (None, wanted) else f"{stored} → {wanted}"


def _others(plan: Plan) -> list[int | None]:
    """How many other tensors of the checkpoint have the shape of the one that was taken."""
    shapes = Counter(entry.shape for entry in plan.sources)
    return [
        None
        if entry.status == "fresh" or entry.source_shape is None
        else max(0, shapes[entry.source_shape] - 1)
        for entry in plan.targets
    ]


def _runners_up(plan: Plan) -> list[str | None]:
    """For tensors that stay fresh: what of the checkpoint is left over and would fit."""
    left = defaultdict(list)
    for entry in plan.sources:
        if entry.status == "unused" and entry.shape:
            left[entry.shape].append(entry.name)
    return [
        ", ".join(clean(name, limit=80) for name in names[:3]) + (", …" if len(names) > 3 else "") or None
        for entry in plan.targets
        for names in [left.get(entry.shape, []) if entry.status == "fresh" else []]
    ]
