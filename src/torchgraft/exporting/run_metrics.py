"""The numbers of a fine-tuning run, from its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchgraft.errors import SaveError

__all__ = ["RunMetrics", "read_run"]

_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "roc_auc": "ROC AUC",
    "log_loss": "Log loss",
    "mean_average_precision": "Mean average precision",
    "micro_f1": "Micro F1",
    "exact_match": "All classes right",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
    "mean_iou": "Mean IoU",
    "pixel_accuracy": "Pixel accuracy",
}
"""By the hub's names or near them, and in words."""


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """What a run measured on its validation images.

    Attributes:
        values: By name: `accuracy`, `balanced_accuracy`, …
        images: How many images that was.
        data: The name of the folder of images.
        recipe: How it was trained.
        epoch: Whose weights were kept.
    """

    values: Mapping[str, float]
    images: int | None
    data: str | None
    recipe: str | None
    epoch: int | None

    def rows(self) -> list[tuple[str, str, float]]:
        """Name, name in words and value."""
        return [(name, words, self.values[name]) for name, words in _NAMES.items() if name in self.values]


def read_run(path: str | os.PathLike[str]) -> RunMetrics:
    """Read `metrics.json` and `config.json`.

    Raises:
        SaveError: It is no run folder, or the run has not measured anything yet.
    """
    folder = Path(path)
    metrics, config = _json(folder / "metrics.json"), _json(folder / "config.json")
    values = {name: metrics[name] for name in _NAMES if isinstance(metrics.get(name), int | float)}
    data, arguments = config.get("data"), config.get("arguments")
    recipe = config.get("recipe") or (arguments.get("recipe") if isinstance(arguments, Mapping) else None)
    return RunMetrics(
        values=values,
        images=metrics.get("count") if isinstance(metrics.get("count"), int) else None,
        data=Path(data).name if isinstance(data, str) else None,
        recipe=str(recipe) if recipe is not None else None,
        epoch=metrics.get("epoch") if isinstance(metrics.get("epoch"), int) else None,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        raise SaveError(
            f"can't be read as a run's: {error}",
            where=str(path),
            hint="run= is a folder that torchgraft.finetune(…, out=…) wrote",
        ) from error
    return data
