"""A run's curves: losses and measures by epoch, the loss by step, the learning rates of its groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torchgraft.report.measures import is_share, measure_name, number_of
from torchgraft.report.page.curves import Chart, Curve
from torchgraft.report.safe_text import clean
from torchgraft.report.smoothing import smoothed, thinned

if TYPE_CHECKING:
    from torchgraft.finetuning.runs.recorded_run import RecordedRun

__all__ = ["charts_of", "run_charts", "smooth_loss", "values_of"]

_MOST_POINTS = 400
_SHARES_SHOWN = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "mean_average_precision",
    "micro_f1",
    "exact_match",
    "mean_iou",
    "pixel_accuracy",
    "mean_accuracy",
)
_SHORT = {
    "balanced_accuracy": "balanced",
    "mean_average_precision": "mAP",
    "mean_accuracy": "class mean",
    "pixel_accuracy": "pixels right",
}
_OWN_CHART = ("mae", "rmse", "r2")
_MOST_HUES = 6
_FAR_APART = 30.0  # the largest rate over the smallest, from which only a logarithmic axis shows both


def charts_of(run: RecordedRun) -> tuple[Chart, ...]:
    """All that there is to draw of one run."""
    best = run.best_epoch
    mark = (float(best), f"the best epoch: {best}") if best is not None else None
    charts = [_losses({"validation": run.history}, mark, training="training"), *_measures(run.history, mark)]
    return tuple(
        chart
        for chart in (*charts, _by_step(run.steps), _rates(run))
        if chart is not None and any(map(math.isfinite, (v for curve in chart.curves for v in curve.values)))
    )


def run_charts(runs: Mapping[str, Sequence[Sequence[Any]]]) -> tuple[Chart, Chart]:
    """Accuracy and loss by epoch, of several experiments.

    Args:
        runs: For each experiment the histories of its runs, one a seed: `Epoch`s, or what their
            `to_json` gives.
    """
    named = [
        (label, [entry if isinstance(entry, Mapping) else entry.to_json() for entry in history])
        for label, histories in runs.items()
        for history in histories
    ]
    accuracy = tuple(Curve(label, _series(history, "val_accuracy")) for label, history in named)
    loss = [Curve(label, _series(history, "val_loss")) for label, history in named]
    training = [Curve(label, _series(history, "train_loss"), training=True) for label, history in named]
    return (
        Chart("Accuracy on the validation images", accuracy, share=True),
        Chart("Cross-entropy", (*loss, *training)),
    )


def values_of(epoch: Mapping[str, Any]) -> dict[str, Any]:
    """The validation measures of an epoch's record, by name."""
    return {name.removeprefix("val_"): value for name, value in epoch.items() if name.startswith("val_")}


def _losses(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], mark: tuple[float, str] | None, *, training: str
) -> Chart:
    curves = [Curve(label, _series(history, "val_loss")) for label, history in histories.items()]
    curves += [
        Curve(training, _series(history, "train_loss"), training=True) for history in histories.values()
    ]
    return Chart("Loss", tuple(curves), mark=mark)


def _measures(history: Sequence[Mapping[str, Any]], mark: tuple[float, str] | None) -> list[Chart]:
    names = list(dict.fromkeys(name for entry in history for name in values_of(entry)))
    shares = [name for name in _SHARES_SHOWN if name in names] or [
        n for n in names if is_share(n) and n != "ece"
    ]
    charts = []
    if shares:
        curves = tuple(
            Curve(_SHORT.get(name, measure_name(name)), _series(history, f"val_{name}"))
            for name in shares[:3]
        )
        charts.append(Chart("Measures on the validation images", curves, share=True, mark=mark))
    for name in _OWN_CHART:
        if name in names:
            values = _series(history, f"val_{name}")
            low = -math.inf if name == "r2" else 0.0
            title = measure_name(name)
            charts.append(
                Chart(
                    title[0].upper() + title[1:],
                    (Curve(name.replace("r2", "R²"), values),),
                    mark=mark,
                    low=low,
                )
            )
    return charts


def smooth_loss(steps: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Steps, and the moving average of the loss there; few enough to be drawn."""
    at, values = _along_steps(steps, lambda step: step.get("loss"))
    return thinned(at, smoothed(values, max(7.0, len(values) / 15)), _MOST_POINTS // 2)


def _by_step(steps: Sequence[Mapping[str, Any]]) -> Chart | None:
    at, values = _along_steps(steps, lambda step: step.get("loss"))
    if len(values) < 2:
        return None
    raw_at, raw = thinned(at, values, _MOST_POINTS)
    smooth_at, line = smooth_loss(steps)
    return Chart(
        "Loss by step",
        (Curve("training", raw, at=raw_at, raw=True), Curve("training", line, at=smooth_at)),
        along="step",
    )


def _rates(run: RecordedRun) -> Chart | None:
    """Learning rates by step where they were recorded, else by epoch."""
    found = run.steps if any(isinstance(step.get("lr"), dict) for step in run.steps) else run.history
    by_step = found is run.steps
    names = list(dict.fromkeys(name for entry in found for name in _rates_of(entry)))
    curves = []
    for name in names:
        if by_step:
            at, values = _along_steps(found, lambda entry, name=name: _rates_of(entry).get(name))
            at, values = thinned(at, values, _MOST_POINTS // 4)
        else:
            at, values = (), tuple(number_of(_rates_of(entry).get(name)) for entry in found)
        curves.append(Curve(clean(name, limit=60), tuple(values), at=tuple(at)))
    highest = [max((v for v in curve.values if v > 0), default=0.0) for curve in curves]
    positive = [value for value in highest if value > 0]
    if not positive:
        return None
    far_apart = max(positive) / min(positive) > _FAR_APART
    title = "Learning rates" if len(curves) > 1 else "Learning rate"
    along = "step" if by_step else "epoch"
    return Chart(title, tuple(curves), along=along, log=far_apart, ranked=len(curves) > _MOST_HUES)


def _along_steps(
    steps: Sequence[Mapping[str, Any]], value: Any
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Steps in ascending order and a number each; of a step that was done again, the last."""
    found = {}
    for step in steps:
        number = step.get("step")
        if isinstance(number, int):
            found[number] = number_of(value(step))
    order = sorted(found)
    return tuple(map(float, order)), tuple(found[number] for number in order)


def _rates_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    rates = entry.get("lr")
    return rates if isinstance(rates, dict) else {}


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[float, ...]:
    return tuple(number_of(entry.get(key)) for entry in history)
