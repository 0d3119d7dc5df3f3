"""The numbers that a run is judged by: their names in words, whether they are shares, which end is good."""

from __future__ import annotations

import math
from typing import TypeGuard

from torchgraft.report.quantities import percent
from torchgraft.report.safe_text import clean

__all__ = ["higher_is_better", "is_number", "is_share", "measure_name", "measure_text", "number_of"]

_NAMES = {
    "ece": "calibration error",
    "iou": "IoU",
    "lr": "learning rate",
    "mae": "mean absolute error",
    "macro_f1": "macro F1",
    "mean_average_precision": "mean average precision",
    "mean_iou": "mean IoU",
    "micro_f1": "micro F1",
    "r2": "R²",
    "rmse": "root mean squared error",
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "f1": "F1",
}
_SHARES = ("accuracy", "precision", "recall", "f1", "auc", "iou", "exact_match", "ece", "dice")
_MOST = 1e30
_LOWER = ("loss", "mae", "rmse", "mse", "ece", "brier", "error")


def measure_name(name: str) -> str:
    """`macro_f1` → `macro F1`; a name that isn't known in words."""
    return _NAMES.get(name) or clean(name.replace("_", " "), limit=60)


def is_share(name: str) -> bool:
    """Whether its values are shares of 0 to 1, to be shown in percent."""
    return any(word in name for word in _SHARES)


def higher_is_better(name: str) -> bool:
    """Which end is the good one."""
    return not any(word in name for word in _LOWER)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether what a file holds is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


def number_of(value: object) -> float:
    """What a file holds, as a number; `nan` for what is none."""
    return float(value) if is_number(value) else math.nan


def measure_text(name: str, value: object) -> str:
    """A value as people read it."""
    if not is_number(value):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if is_share(name):
        return percent(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"
