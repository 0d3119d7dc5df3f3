"""What a fine-tuning run has to tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.finetuning.metrics import Evaluation

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Epoch", "FinetuneResult"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch's numbers.

    Attributes:
        epoch: From 1.
        train_loss: Mean cross-entropy over the training batches; for a probe, over all features.
        val_loss: Mean cross-entropy over the validation images.
        val_accuracy: Share of validation images that were classified rightly.
        val_balanced_accuracy: The same, averaged over the classes.
        lr: The learning rate at the epoch's end; `None` where the optimizer has none.
        seconds: How long it took, validation included.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float
    lr: float | None
    seconds: float

    def to_json(self) -> dict[str, float | int | None]:
        """Plain data for a JSON file."""
        return asdict(self)


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
    """

    model: nn.Module
    recipe: str
    classes: tuple[str, ...]
    history: tuple[Epoch, ...]
    best_epoch: int
    evaluation: Evaluation
    counts: dict[str, int]
    skipped: tuple[str, ...] = ()
    adapted: str = ""
    notes: tuple[str, ...] = ()
    trainable: int = 0
    total: int = 0
    seconds: float = 0.0
    out: Path | None = field(default=None)

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
