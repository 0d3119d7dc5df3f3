"""The page about one fine-tuning run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchgraft.report.page.confusion import ConfusionSection
from torchgraft.report.page.curves import Chart, Curve, CurvesSection
from torchgraft.report.page.facts import FactsSection
from torchgraft.report.page.page import Figure, Page, Section
from torchgraft.report.page.photos import Photo, PhotosSection
from torchgraft.report.quantities import duration, percent, plural

if TYPE_CHECKING:
    from torchgraft.finetuning.result import Epoch, FinetuneResult

__all__ = ["run_charts", "run_page"]


def run_page(
    result: FinetuneResult,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    photos: Sequence[Photo] = (),
) -> Page:
    """Figures, curves, confusion matrix, photos and facts of a run.

    Args:
        result: What `torchgraft.finetune` returned.
        title: The page's heading.
        facts: Further lines for the table of facts: model, data, versions.
        photos: Sample photos and what the model says of them.
    """
    scores = result.evaluation
    counts = result.counts
    sections: list[Section] = [
        CurvesSection(run_charts({result.recipe: [result.history]})),
        ConfusionSection(scores.classes, scores.confusion, text="On the validation images."),
    ]
    if photos:
        sections.append(PhotosSection(tuple(photos)))
    lines = [
        *facts,
        ("recipe", result.recipe),
        ("images", f"{counts['train']:,} to train, {counts['val']:,} to validate"),
        *([("left out", ", ".join(result.skipped))] if result.skipped else []),
        ("trained", f"{result.trainable:,} of {plural(result.total, 'parameter')}"),
        ("kept", f"epoch {result.best_epoch} of {len(result.history)}"),
        *([("adapted", result.adapted)] if result.adapted else []),
        *(("note", note) for note in result.notes),
        *((name.replace("_", " "), f"{value:.4f}") for name, value in scores.metrics().items()),
    ]
    return Page(
        title,
        f"{plural(len(result.classes), 'class', 'classes')}, recipe {result.recipe}.",
        (*sections, FactsSection(tuple(lines))),
        (
            Figure(percent(scores.accuracy), "accuracy on the validation images"),
            Figure(percent(scores.balanced_accuracy), "the same, averaged over the classes"),
            Figure(plural(len(result.history), "epoch"), f"the best is number {result.best_epoch}"),
            Figure(duration(result.seconds), "in all"),
        ),
    )


def run_charts(runs: dict[str, Sequence[Sequence[Epoch]]]) -> tuple[Chart, Chart]:
    """Accuracy and loss by epoch.

    Args:
        runs: For each experiment the histories of its runs, one a seed.
    """
    named = [(label, history) for label, histories in runs.items() for history in histories]
    accuracy = [Curve(label, tuple(epoch.val_accuracy for epoch in history)) for label, history in named]
    loss = [Curve(label, tuple(_finite(epoch.val_loss) for epoch in history)) for label, history in named]
    training = [
        Curve(label, tuple(_finite(epoch.train_loss) for epoch in history), training=True)
        for label, history in named
    ]
    return (
        Chart("Accuracy on the validation images", tuple(accuracy), share=True),
        Chart("Cross-entropy", (*loss, *training)),
    )


def _finite(value: float | None) -> float:
    return math.nan if value is None else value
