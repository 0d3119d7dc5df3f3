"""The page that compares several fine-tuning runs, from their folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torchgraft.report.measures import (
    higher_is_better,
    is_number,
    is_share,
    measure_name,
    measure_text,
    number_of,
)
from torchgraft.report.page.curves import Chart, Curve, CurvesSection
from torchgraft.report.page.page import Figure, Page, Section
from torchgraft.report.page.run import main_measures
from torchgraft.report.page.run_charts import smooth_loss, values_of
from torchgraft.report.page.run_tables import model_name, number_cell, spelled
from torchgraft.report.page.state import StateSection
from torchgraft.report.page.table import Cell, Column, TableSection
from torchgraft.report.quantities import duration, plural
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.finetuning.runs.recorded_run import RecordedRun

__all__ = ["runs_page"]

_MOST_CLASSES = 1000
_OF_A_CLASS = ("f1", "iou", "average_precision", "recall")


def runs_page(runs: Sequence[RecordedRun], *, revision: str = "", live: bool = False) -> Page:
    """Their results side by side, their curves over each other, and the settings in which they differ.

    Args:
        runs: Two or more.
        revision: Of the folders; a live page asks for a newer one.
        live: Whether the page is served and asks for news while a run goes on.
    """
    named = dict(zip(_labels(runs), runs, strict=True))
    measures = main_measures(next((run for run in runs if run.metrics), runs[0]))
    main = measures[0]
    best = _best([run.metrics.get(main) for run in runs], main)
    sections: list[Section] = [_states(runs, revision=revision, live=live), _results(named, measures)]
    if any(run.history for run in runs):
        sections.append(CurvesSection(tuple(_charts(named, measures)), title="How they learned"))
    differing = _settings(named)
    if differing is not None:
        sections.append(differing)
    if (classes := _classes(named)) is not None:
        sections.append(classes)
    figures = []
    if best:
        label, run = list(named.items())[best[0]]
        figures = [
            Figure(measure_text(main, run.metrics[main]), f"{measure_name(main)}, the best of {len(runs)}"),
            Figure(
                clean(label, limit=24),
                "has it" if len(best) == 1 else f"and {plural(len(best) - 1, 'other')} have it",
            ),
        ]
    return Page(
        f"{len(runs)} runs",
        f"{', '.join(clean(name, limit=60) for name in named)}.",
        tuple(sections),
        tuple(figures),
    )


def _labels(runs: Sequence[RecordedRun]) -> list[str]:
    """Folder names, as much of their paths as tells them apart."""
    paths = [run.path.resolve().parts for run in runs]
    labels = [run.name for run in runs]
    depth = 1
    while len(set(labels)) < len(labels) and depth < max(map(len, paths)):
        depth += 1
        labels = ["/".join(parts[-depth:]) for parts in paths]
    return (
        labels if len(set(labels)) == len(labels) else [f"{label} ({i})" for i, label in enumerate(labels, 1)]
    )


def _states(runs: Sequence[RecordedRun], *, revision: str, live: bool) -> StateSection:
    running = sum(run.status == "running" for run in runs)
    finished = sum(run.status == "finished" for run in runs)
    others = sorted({run.status for run in runs} - {"running", "finished"})
    status = "running" if running else "finished" if not others else others[0]
    return StateSection(
        status=status,
        far=f"{finished} of {plural(len(runs), 'run')} finished",
        error="\n".join(
            f"{run.name}: {run.config.get('error')}"
            for run in runs
            if run.status == "failed" and run.config.get("error")
        ),
        revision=revision,
        live=live,
        title="How they stand",
    )


def _results(named: Mapping[str, RecordedRun], barred: Sequence[str]) -> TableSection:
    names = list(dict.fromkeys(name for run in named.values() for name in _measured(run.metrics)))
    best = {name: _best([run.metrics.get(name) for run in named.values()], name) for name in names}
    differing = len({run.status for run in named.values()}) > 1
    rows = []
    for i, (label, run) in enumerate(named.items()):
        took = math.fsum(seconds for entry in run.history if is_number(seconds := entry.get("seconds")))
        kept = run.best_epoch
        rows.append(
            (
                Cell(label),
                *((Cell(run.status),) if differing else ()),
                Cell(
                    f"{kept} of {len(run.history)}" if kept else f"{len(run.history)}",
                    float(len(run.history)),
                ),
                *(
                    number_cell(name, run.metrics.get(name), best=i in best[name], bar=name in barred)
                    for name in names
                ),
                Cell(duration(took) if run.history else "–", took),
            )
        )
    columns = (
        Column("run"),
        *((Column("state"),) if differing else ()),
        Column("best epoch", number=True),
        *(Column(measure_name(name), number=True) for name in names),
        Column("time", number=True),
    )
    return TableSection(
        columns,
        tuple(rows),
        title="What came of them",
        text="Of each run its best epoch, on its validation images.",
    )


def _measured(metrics: Mapping[str, Any]) -> list[str]:
    skipped = ("epoch", "count", "threshold")
    return [n for n, v in metrics.items() if n not in skipped and is_number(v)]


def _best(values: Sequence[object], name: str) -> tuple[int, ...]:
    """The positions of the best; none where fewer than two values are known, or all are the same."""
    known = {i: float(v) for i, v in enumerate(values) if is_number(v)}
    if len(known) < 2 or len(set(known.values())) == 1:
        return ()
    best = (max if higher_is_better(name) else min)(known.values())
    return tuple(i for i, value in known.items() if value == best)


def _charts(named: Mapping[str, RecordedRun], measures: Sequence[str]) -> list[Chart]:
    charts = []
    for name in measures:
        title = measure_name(name)
        curves = tuple(
            Curve(label, tuple(number_of(values_of(entry).get(name)) for entry in run.history))
            for label, run in named.items()
            if run.history
        )
        low = -math.inf if name == "r2" else 0.0
        charts.append(
            Chart(
                f"{title[0].upper()}{title[1:]} on the validation images",
                curves,
                share=is_share(name),
                low=low,
            )
        )
    losses = []
    for key, training in (("val_loss", False), ("train_loss", True)):
        losses += [
            Curve(label, tuple(number_of(entry.get(key)) for entry in run.history), training=training)
            for label, run in named.items()
            if run.history
        ]
    charts.append(Chart("Loss", tuple(losses)))
    stepped = [(label, smooth_loss(run.steps)) for label, run in named.items()]
    if by_step := tuple(Curve(label, values, at=at) for label, (at, values) in stepped if len(values) > 1):
        charts.append(Chart("Training loss by step, moving average", by_step, along="step"))
    return [chart for chart in charts if any(map(math.isfinite, (v for c in chart.curves for v in c.values)))]


def _settings(named: Mapping[str, RecordedRun]) -> TableSection | None:
    """A row for each setting that isn't the same in all runs."""
    told = [_told(run) for run in named.values()]
    names = list(dict.fromkeys(name for settings in told for name in settings))
    rows = tuple(
        (
            Cell(clean(name.replace("_", " "), limit=80)),
            *(Cell(settings.get(name, "–") or "–") for settings in told),
        )
        for name in names
        if len({settings.get(name, "") for settings in told}) > 1
    )
    if not rows:
        return None
    columns = (Column("setting"), *(Column(label) for label in named))
    return TableSection(
        columns, rows, title="In what they differ", text="Settings that are the same in all are left out."
    )


def _told(run: RecordedRun) -> dict[str, str]:
    config = run.config
    found: dict[str, str] = {"model": model_name(config)}
    found |= {key: spelled(config.get(key)) for key in ("data", "counts", "preprocessing")}
    for part in ("arguments", "settings"):
        values = config.get(part)
        found |= {name: spelled(value) for name, value in values.items()} if isinstance(values, dict) else {}
    versions = config.get("versions")
    if isinstance(versions, dict):
        found |= {f"version of {name}": spelled(value) for name, value in versions.items()}
    return found


def _classes(named: Mapping[str, RecordedRun]) -> TableSection | None:
    """One score of each class in each run, where they have classes in common."""
    scores: dict[str, dict[str, Mapping[str, Any]]] = {}
    for label, run in named.items():
        listed = run.metrics.get("per_class")
        rows = listed if isinstance(listed, list) else []
        scores[label] = {str(row["name"]): row for row in rows if isinstance(row, dict) and "name" in row}
    names = [
        name
        for name in dict.fromkeys(n for found in scores.values() for n in found)
        if sum(name in f for f in scores.values()) > 1
    ]
    measure = next(
        (m for m in _OF_A_CLASS if any(m in row for found in scores.values() for row in found.values())), None
    )
    if measure is None or not names:
        return None
    rows = []
    for name in names[:_MOST_CLASSES]:
        values = [found.get(name, {}).get(measure) for found in scores.values()]
        best = _best(values, measure)
        rows.append(
            (Cell(name), *(number_cell(measure, value, best=i in best) for i, value in enumerate(values)))
        )
    columns = (Column("class"), *(Column(label, number=True) for label in named))
    return TableSection(columns, tuple(rows), title=f"Class by class: {measure_name(measure)}")
