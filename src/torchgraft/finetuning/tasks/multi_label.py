"""Each image has any number of classes, also none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from torchgraft.finetuning.evaluations.multi_label_evaluation import MultiLabelEvaluation, measure_labels
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.outputs import logits_of

__all__ = ["MultiLabel"]


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """Binary cross-entropy of each class; the best epoch has the highest mean average precision.

    Attributes:
        count: Number of classes.
        threshold: The probability from which a class counts as predicted when it is measured.
    """

    name: ClassVar[str] = "multi-label"
    mixes: ClassVar[bool] = True
    units: ClassVar[None] = None

    count: int
    threshold: float = 0.5

    @classmethod
    def of(cls, images: Images) -> MultiLabel:
        """For as many classes as the images have."""
        return cls(len(images.classes))

    def target(self, label: Sequence[int]) -> torch.Tensor:
        """A 1 for each class that is there, float32."""
        flags = torch.zeros(self.count)
        flags[list(label)] = 1.0
        return flags

    def outputs(self, output: object) -> torch.Tensor:
        """Class scores (batch, classes), before the sigmoid."""
        return logits_of(output)

    def loss(
        self,
        outputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        label_smoothing: float = 0.0,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Binary cross-entropy in nats, the mean over images and classes; smoothing moves targets to 0.5.

        A `weight` counts a class that often, as PyTorch's own does: the mean is over all classes alike.
        """
        if label_smoothing:
            targets = targets * (1 - label_smoothing) + 0.5 * label_smoothing
        return functional.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), weight=weight)

    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """The scores themselves: a sigmoid in float32 would lose what a loss needs."""
        return outputs

    def measure(
        self,
        outcomes: torch.Tensor,
        images: Images,
        classes: Sequence[str],
        *,
        skipped: tuple[str, ...] = (),
    ) -> MultiLabelEvaluation:
        """By scikit-learn's measures."""
        truth = np.zeros((len(images), len(classes)), dtype=bool)
        for row, label in enumerate(images.labels):
            truth[row, list(label)] = True
        return measure_labels(
            outcomes.numpy(), truth, classes, images=images, threshold=self.threshold, skipped=skipped
        )

    def rank(self, val: Mapping[str, float]) -> tuple[float, ...]:
        """Mean average precision, then loss."""
        return (val.get("mean_average_precision", 0.0), -val["loss"])
