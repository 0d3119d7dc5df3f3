"""Each image has one or several numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from torchgraft.errors import TrainingError
from torchgraft.finetuning.evaluations.regression_evaluation import RegressionEvaluation, measure_numbers
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.outputs import numbers_of, precise
from torchgraft.finetuning.tasks.head_units import HeadUnits

__all__ = ["Regression"]


@dataclass(frozen=True, slots=True)
class Regression:
    """Squared error of standardised numbers; the best epoch has the lowest.

    In training, the model's outputs are the numbers minus their mean, divided by their standard deviation:
    a learning rate then suits kilometres and millimetres alike. Afterwards both are folded into the head.

    Attributes:
        names: What the numbers are.
        units: Mean and standard deviation in the training images; `None`: the model gives the numbers
            themselves.
    """

    name: ClassVar[str] = "regression"
    mixes: ClassVar[bool] = True

    names: tuple[str, ...]
    units: HeadUnits | None = None

    @classmethod
    def of(cls, images: Images) -> Regression:
        """Standardising by the images' own numbers."""
        numbers = np.asarray(images.labels, dtype=np.float64)
        std = numbers.std(axis=0)
        std = np.where(std > 0, std, 1.0)
        return cls(images.classes, HeadUnits(tuple(std.tolist()), tuple(numbers.mean(axis=0).tolist())))

    def target(self, label: Sequence[float]) -> torch.Tensor:
        """The numbers as the model gives them in training, float32."""
        numbers = torch.tensor(label, dtype=torch.float64)
        return (numbers if self.units is None else self.units.standardised(numbers)).float()

    def outputs(self, output: object) -> torch.Tensor:
        """(batch, numbers)."""
        found = numbers_of(output)
        if found.shape[1] != len(self.names):
            has, wanted = found.shape[1], len(self.names)
            raise TrainingError(f"the model gives {has} numbers, the images have {wanted}")
        return found

    def loss(
        self,
        outputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        label_smoothing: float = 0.0,  # noqa: ARG002 (numbers have no other classes to share with)
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean squared error, times `weight`, one a number."""
        if weight is None:
            return functional.mse_loss(outputs, targets.to(outputs.dtype))
        return ((outputs - targets).square() * weight).mean()

    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """The numbers in the user's units."""
        return outputs if self.units is None else self.units.of_user(precise(outputs))

    def measure(
        self,
        outcomes: torch.Tensor,
        images: Images,
        classes: Sequence[str],
        *,
        skipped: tuple[str, ...] = (),
    ) -> RegressionEvaluation:
        """Errors in the user's units; the loss is that of training."""
        std = () if self.units is None else self.units.scale
        truth = np.asarray(images.labels, dtype=np.float64)
        return measure_numbers(outcomes.numpy(), truth, classes, std=std, images=images, skipped=skipped)

    def rank(self, val: Mapping[str, float]) -> tuple[float, ...]:
        """The loss."""
        return (-val["loss"],)
