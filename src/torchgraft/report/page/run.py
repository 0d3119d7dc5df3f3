"""The page about one fine-tuning run, from its folder alone: also while it goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torchgraft.report.measures import is_number, measure_name, measure_text, number_of
from torchgraft.report.page.calibration import CalibrationSection, ConfidenceBin
from torchgraft.report.page.confusion import ConfusionSection
from torchgraft.report.page.curves import CurvesSection
from torchgraft.report.page.facts import FactsSection
from torchgraft.report.page.mistakes import MistakesSection
from torchgraft.report.page.page import Figure, Page, Section
from torchgraft.report.page.run_charts import charts_of, values_of
from torchgraft.report.page.run_state import state_of
from torchgraft.report.page.run_tables import facts_of, groups_table, model_name, per_class_table
from torchgraft.report.quantities import duration, plural

if TYPE_CHECKING:
    from torchgraft.finetuning.runs.recorded_run import RecordedRun

__all__ = ["main_measures", "run_page", "run_title"]

_MAIN = {
    "classes": ("accuracy", "balanced_accuracy"),
    "multi-label": ("mean_average_precision", "macro_f1"),
    "regression": ("mae", "r2"),
    "segmentation": ("mean_iou", "pixel_accuracy"),
}
_MOST_MISTAKES = 12  # without pictures
_MOST_CONFUSED = 400  # classes of which a heat map is still worth its bytes


def run_page(run: RecordedRun, *, revision: str = "", live: bool = False) -> Page:
    """How a run stands, what it learned, and from what.

    Args:
        run: What its folder holds.
        revision: Of the folder; a live page asks for a newer one.
        live: Whether the page is served and asks for news while the run goes on.
    """
    metrics = run.metrics
    sections: list[Section] = [state_of(run, revision=revision, live=live)]
    if charts := charts_of(run):
        sections.append(CurvesSection(charts, shared=False))
    if matrix := _matrix(metrics):
        sections.append(ConfusionSection(*matrix, text=f"The best epoch's model on the {_images(metrics)}."))
    if (table := per_class_table(metrics)) is not None:
        sections.append(table)
    if run.mistakes:
        drawn = [mistake for mistake in run.mistakes if mistake.picture]
        about = "" if drawn or run.status != "running" else "Their pictures come when the run ends."
        sections.append(MistakesSection(drawn or run.mistakes[:_MOST_MISTAKES], text=about))
    if bins := _bins(metrics):
        error = metrics["calibration"].get("ece")
        sections.append(CalibrationSection(bins, error if isinstance(error, float) else None))
    if (groups := groups_table(run)) is not None:
        sections.append(groups)
    sections.append(FactsSection(facts_of(run)))
    return Page(run_title(run), _subtitle(run), tuple(sections), tuple(_figures(run)))


def run_title(run: RecordedRun) -> str:
    """The model on the data, or the folder's name where neither is known."""
    model, data = model_name(run.config), run.config.get("data")
    if not model or not isinstance(data, str) or not data:
        return run.name
    return f"{model} on {data.rstrip('/').rpartition('/')[2] or data}"


def main_measures(run: RecordedRun) -> tuple[str, ...]:
    """The two measures that matter most, of those that there are."""
    task = str(run.metrics.get("task", "classes"))
    known = run.metrics or (values_of(run.history[-1]) if run.history else {})
    chosen = tuple(name for name in _MAIN.get(task, ()) if is_number(known.get(name)))
    if chosen:
        return chosen
    others = [
        name for name, value in known.items() if is_number(value) and name not in ("epoch", "count", "loss")
    ]
    return tuple(others[:2]) or ("loss",)


def _figures(run: RecordedRun) -> list[Figure]:
    found: list[Figure] = []
    for name in main_measures(run):
        value = run.metrics.get(name)
        if is_number(value):
            which = "" if found else f" on the {_images(run.metrics)}"
            found.append(Figure(measure_text(name, value), measure_name(name) + which))
    if run.history:
        best = run.best_epoch
        about = f"the best is number {best}" if best is not None else "so far"
        found.append(Figure(plural(len(run.history), "epoch"), about))
        found.append(Figure(duration(_seconds(run)), "in all" if run.status == "finished" else "so far"))
    return found


def _subtitle(run: RecordedRun) -> str:
    classes = run.config.get("classes")
    count = plural(len(classes), "class", "classes") if isinstance(classes, list) else ""
    images = run.config.get("counts")
    train = images.get("train") if isinstance(images, dict) else None
    parts = [
        f"recipe {run.recipe}",
        count,
        f"{train:,} images to learn from" if isinstance(train, int) else "",
    ]
    return ", ".join(part for part in parts if part) + "."


def _seconds(run: RecordedRun) -> float:
    whole = run.config.get("seconds")
    if is_number(whole):
        return float(whole)
    return math.fsum(seconds for entry in run.history if is_number(seconds := entry.get("seconds")))


def _images(metrics: Mapping[str, Any]) -> str:
    count = metrics.get("count")
    return f"{count:,} validation images" if isinstance(count, int) else "validation images"


def _bins(metrics: Mapping[str, Any]) -> tuple[ConfidenceBin, ...]:
    calibration = metrics.get("calibration")
    listed = calibration.get("bins") if isinstance(calibration, dict) else None
    found = []
    for each in listed if isinstance(listed, list) else ():
        entry = each if isinstance(each, dict) else {}
        low, high, confidence, accuracy = (
            number_of(entry.get(key)) for key in ("low", "high", "confidence", "accuracy")
        )
        count = entry.get("count")
        if isinstance(count, int) and count > 0 and math.isfinite(low + high + confidence + accuracy):
            found.append(ConfidenceBin(low, high, count, confidence, accuracy))
    return tuple(found)


def _matrix(metrics: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Sequence[int]]] | None:
    """Class names and counts, if the folder has a matrix that is one and has something to tell."""
    labels, counts = metrics.get("classes"), metrics.get("confusion")
    if not isinstance(labels, list) or not isinstance(counts, list) or not 1 < len(counts) <= _MOST_CONFUSED:
        return None
    square = all(
        isinstance(row, list) and len(row) == len(counts) and all(isinstance(n, int) and n >= 0 for n in row)
        for row in counts
    )
    return ([str(label) for label in labels], counts) if square and len(labels) == len(counts) else None
