"""The section that shows a graft: every tensor of the model as a cell, coloured by its fate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from torchgraft.report.plan_rows import done, source_rows, target_rows
from torchgraft.report.quantities import compact, percent, plural
from torchgraft.report.safe_text import clean
from torchgraft.report.statuses import STATUSES, gate_advice, status_of

if TYPE_CHECKING:
    from torchgraft.planning import Plan, TargetEntry

__all__ = ["GraftSection"]

_FATES = ("loaded", "adapted", "fresh", "undeclared")
_MOST_ROWS = 40
_LONG_ROW = 40


@dataclass(frozen=True, slots=True)
class GraftSection:
    """What was loaded, adapted and left fresh, and what of the checkpoint was not used."""

    plan: Plan
    title: str = "What went where"
    text: str = ""
    template: ClassVar[str] = "graft.html"

    def view(self) -> Mapping[str, object]:
        """The strips, the tables, the totals."""
        plan = self.plan
        fates = Counter(status_of(entry).key for entry in plan.targets)
        numel = Counter[str]()
        for entry in plan.targets:
            numel[status_of(entry).key] += entry.numel
        total = sum(numel.values())
        verdict, advice = gate_advice(plan)
        return {
            "text": self.text,
            "plan": plan,
            "verdict": verdict,
            "advice": advice,
            "coverage": f"{percent(plan.coverage)} of {compact(total)} elements come from the checkpoint",
            "legend": [
                (
                    STATUSES[key],
                    plural(fates[key], "tensor"),
                    compact(numel[key]),
                    percent(numel[key] / total),
                )
                for key in _FATES
                if fates[key]
            ],
            "modules": [_module(path, entries) for path, entries in _modules(plan.targets)],
            "changed": [row for row in target_rows(plan) if row.status.key != "loaded"],
            "tensors": [
                (entry, status_of(entry), done(entry), _shape(entry.shape), _shape(entry.source_shape))
                for entry in plan.targets
            ],
            "unused": source_rows(plan, all=True),
        }


def _modules(entries: Sequence[TargetEntry]) -> list[tuple[str, list[TargetEntry]]]:
    """Neighbours under one module path; long groups are divided a level deeper while there is room."""
    groups = _split(list(entries), 1)
    depth = {id(group): 1 for _, group in groups}
    while True:
        long = [(path, group) for path, group in groups if len(group) > _LONG_ROW]
        for path, group in sorted(long, key=lambda item: -len(item[1])):
            parts = _split(group, depth[id(group)] + 1)
            if len(parts) > 1 and len(groups) + len(parts) - 1 <= _MOST_ROWS:
                at = groups.index((path, group))
                depth.update({id(part): depth[id(group)] + 1 for _, part in parts})
                groups[at : at + 1] = parts
                break
        else:
            return groups


def _split(entries: list[TargetEntry], depth: int) -> list[tuple[str, list[TargetEntry]]]:
    def path(entry: TargetEntry) -> str:
        modules = entry.name.split(".")[:-1] or [entry.name]
        return ".".join(modules[:depth])

    return [(key, list(group)) for key, group in groupby(entries, path)]


def _module(path: str, entries: Sequence[TargetEntry]) -> Mapping[str, object]:
    fates = Counter(status_of(entry).key for entry in entries)
    words = ", ".join(
        f"{fates[key]} {'fresh, undeclared' if key == 'undeclared' else key}" for key in _FATES if fates[key]
    )
    cells = [
        (status.key, f"{clean(entry.name)} {_shape(entry.shape)} – {status.word}: {clean(entry.why)}")
        for entry in entries
        for status in [status_of(entry)]
    ]
    return {
        "path": clean(path),
        "cells": cells,
        "words": words,
        "numel": compact(sum(entry.numel for entry in entries)),
    }


def _shape(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else f"[{', '.join(map(str, shape))}]"
