"""What a fine-tuning run has to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.finetuning.evaluations.evaluation import AnyEvaluation
from torchgraft.finetuning.group_table import GroupRow

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Epoch", "FinetuneResult"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch's numbers.

    Attributes:
        epoch: From 1.
        train_loss: Mean loss over the training batches; for a probe, over all features.
        val: `loss` and the task's other measures on the validation images, by name; of images with one
            class each: `accuracy`, `balanced_accuracy` and more.
        lr: The learning rate of each group at the epoch's end; empty where the optimizer has none.
        seconds: How long it took, validation included.
    """

    epoch: int
    train_loss: float
    val: Mapping[str, float]
    lr: Mapping[str, float]
    seconds: float

    @property
    def val_loss(self) -> float:
        """Mean loss over the validation images."""
        return self.val["loss"]

    @property
    def val_accuracy(self) -> float | None:
        """Share of validation images that were classified rightly, if that is the task."""
        return self.val.get("accuracy")

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file, one level deep but for the learning rates."""
        val = {f"val_{name}": value for name, value in self.val.items()}
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            **val,
            "lr": dict(self.lr),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """A fine-tuned model and how it came to be.

    Attributes:
        model: The model that was given, now in evaluation mode and with the best epoch's weights.
        recipe: The recipe's name.
        classes: Class names in the order of the model's outputs.
        history: Every epoch, in order.
        best_epoch: Which epoch's weights were kept, from 1.
        evaluation: How the model does on the validation images.
        counts: Images in `train` and `val`, and `skipped` ones that couldn't be read.
        skipped: The names of those.
        adapted: What was changed so that the model has these classes; empty if nothing was.
        notes: Whatever else the user should know, one line each.
        trainable: Parameters that were trained.
        total: Parameters in all.
        seconds: The whole run.
        out: The run folder, if there is one.
        groups: What was trained and how fast.
    """

    model: nn.Module
    recipe: str
    classes: tuple[str, ...]
    history: tuple[Epoch, ...]
    best_epoch: int
    evaluation: AnyEvaluation
    counts: dict[str, int]
    skipped: tuple[str, ...] = ()
    adapted: str = ""
    notes: tuple[str, ...] = ()
    trainable: int = 0
    total: int = 0
    seconds: float = 0.0
    out: Path | None = field(default=None)
    groups: tuple[GroupRow, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything but the model, as plain data."""
        return {
            "recipe": self.recipe,
            "classes": list(self.classes),
            "history": [epoch.to_json() for epoch in self.history],
            "best_epoch": self.best_epoch,
            "evaluation": self.evaluation.to_json(),
            "counts": dict(self.counts),
            "skipped": list(self.skipped),
            "adapted": self.adapted,
            "notes": list(self.notes),
            "trainable": self.trainable,
            "total": self.total,
            "seconds": self.seconds,
            "out": str(self.out) if self.out is not None else None,
            "groups": [row.to_json() for row in self.groups],
        }

    def __str__(self) -> str:
        counts = self.counts
        skipped = f", {counts['skipped']:,} skipped" if counts.get("skipped") else ""
        lines = [
            f"{self.recipe}: {self.evaluation.summary()}",
            f"  best of {len(self.history)} epochs: {self.best_epoch}, in {self.seconds:.1f} s",
            f"  images: {counts['train']:,} to train, {counts['val']:,} to validate{skipped}",
            f"  trained {self.trainable:,} of {self.total:,} parameters, {len(self.classes):,} classes",
        ]
        lines += [f"  {line}" for line in (self.adapted, *self.notes) if line]
        lines += [f"  saved in {self.out}"] if self.out is not None else []
        return "\n".join(lines)
