"""Each image has one class of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from torchgraft.finetuning.evaluations.class_evaluation import Evaluation, measure_classes
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.outputs import logits_of

__all__ = ["Classes"]


@dataclass(frozen=True, slots=True)
class Classes:
    """Cross-entropy; the best epoch is the one with the highest accuracy, of equals the lowest loss.

    Attributes:
        top: For which numbers of guesses to measure how often the class is among them.
    """

    name: ClassVar[str] = "classes"
    mixes: ClassVar[bool] = True
    units: ClassVar[None] = None

    top: tuple[int, ...] = (5,)

    @classmethod
    def of(cls, images: Images) -> Classes:  # noqa: ARG003 (the same for all)
        """The task."""
        return cls()

    def target(self, label: int) -> int:
        """The class's index."""
        return label

    def outputs(self, output: object) -> torch.Tensor:
        """Class scores (batch, classes)."""
        return logits_of(output)

    def loss(
        self,
        outputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        label_smoothing: float = 0.0,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Cross-entropy in nats."""
        return functional.cross_entropy(outputs, targets, weight=weight, label_smoothing=label_smoothing)

    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Probabilities (batch, classes)."""
        return outputs.softmax(dim=1)

    def measure(
        self,
        outcomes: torch.Tensor,
        images: Images,
        classes: Sequence[str],
        *,
        skipped: tuple[str, ...] = (),
    ) -> Evaluation:
        """By scikit-learn's measures."""
        truth = np.asarray(images.labels)
        return measure_classes(outcomes.numpy(), truth, classes, images=images, top=self.top, skipped=skipped)

    def rank(self, val: Mapping[str, float]) -> tuple[float, ...]:
        """Accuracy, then loss."""
        return (val["accuracy"], -val["loss"])
