"""Pretrained against random weights, with the same photos, splits, recipes and budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from torch import nn

import torchgraft as tg
from torchgraft.demo.audience import Audience
from torchgraft.demo.material import SolarCells
from torchgraft.finetuning import FinetuneResult

__all__ = ["Contest", "Entry", "Settings", "hold_contest"]

PROBE, FULL = "linear probe", "full fine-tune"
PRETRAINED, SCRATCH = "grafted weights", "random weights"


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is trained.

    Attributes:
        cells: Photos of solar cells used, a fifth of them to validate on.
        seeds: Each draws its own split and, for random weights, its own start.
        epochs: Epochs of the full fine-tune.
        full_seeds: How many of the seeds the full fine-tune runs with.
        shown: Photos that no run sees, for the report.
    """

    cells: int = 1000
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 3
    full_seeds: int = 2
    shown: int = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender under one recipe: a result for each seed."""

    start: str
    recipe: str
    results: tuple[FinetuneResult, ...]

    @property
    def label(self) -> str:
        """Such as `"linear probe, grafted weights"`."""
        return f"{self.recipe}, {self.start}"

    def scores(self, metric: str) -> tuple[float, ...]:
        """A metric of the best epoch, one a seed."""
        return tuple(getattr(result.evaluation, metric) for result in self.results)


@dataclass(frozen=True, slots=True)
class Contest:
    """All entries."""

    entries: tuple[Entry, ...]

    def entry(self, recipe: str, start: str) -> Entry:
        """The entry of this recipe and start."""
        return next(entry for entry in self.entries if (entry.recipe, entry.start) == (recipe, start))

    def view(self) -> RenderableType:
        """A table for the terminal: mean ± standard deviation over the seeds."""
        table = Table(
            "recipe",
            "start",
            "accuracy",
            "balanced",
            "ROC AUC",
            "runs",
            "s a run",
            box=None,
            padding=(0, 2, 0, 0),
        )
        for entry in self.entries:
            table.add_row(
                entry.recipe,
                entry.start,
                *(spread(entry.scores(metric)) for metric in ("accuracy", "balanced_accuracy", "roc_auc")),
                str(len(entry.results)),
                f"{mean(result.seconds for result in entry.results):.0f}",
            )
        return table


def spread(values: tuple[float, ...]) -> str:
    """Mean ± standard deviation; a single value has no spread."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def hold_contest(
    cells: SolarCells,
    starter: Callable[[bool, int], nn.Module],
    out: Path,
    settings: Settings,
    audience: Audience,
) -> Contest:
    """Train every contender with every recipe and seed.

    Args:
        cells: The photos and labels.
        starter: Gives the model to start from, by whether it is pretrained and by seed.
        out: Each run gets a folder of its own in here.
        settings: How much.
        audience: Is told of each run.
    """
    plans: list[tuple[str, str, tuple[int, ...], Mapping[str, Any]]] = [
        (PROBE, "linear-probe", settings.seeds, {"feature_cache": out / "features"}),
        (FULL, "full", settings.seeds[: settings.full_seeds], {"epochs": settings.epochs}),
    ]
    entries = []
    for title, recipe, seeds, options in plans:
        for start in (PRETRAINED, SCRATCH):
            results = []
            for seed in seeds:
                audience.show(f"{title}, {start}, seed {seed}")
                result = tg.finetune(
                    starter(start == PRETRAINED, seed),
                    (cells.images, cells.labels),
                    recipe=recipe,
                    seed=seed,
                    out=out / f"{recipe}-{'grafted' if start == PRETRAINED else 'random'}-{seed}",
                    overwrite=True,
                    on_event=audience.progress,
                    **options,
                )
                results.append(result)
            entries.append(Entry(start, title, tuple(results)))
    return Contest(tuple(entries))
