"""Mixup and CutMix: a batch whose images are blends of two, and whose targets are shares of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning.requirements import require
from torchgraft.finetuning.seeding import drawn

if TYPE_CHECKING:
    from torchgraft.finetuning.fitting.options import Fitting
    from torchgraft.finetuning.tasks.task import Task

__all__ = ["Mixing", "mixing_for"]


class Mixing:
    """torchvision's `v2.MixUp` and `v2.CutMix`; each image meets the one before it in the batch.

    Args:
        mixup: Both parameters of the Beta distribution that shares are drawn from; 0: no mixup.
        cutmix: Likewise. With both, either is as likely.
        classes: How many there are.
        seed: The same seed and step give the same shares.
    """

    def __init__(self, mixup: float, cutmix: float, *, classes: int, seed: int) -> None:
        require("torchvision")
        from torchvision.transforms import v2

        kinds = [
            kind(alpha=alpha, num_classes=classes)
            for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
            if alpha > 0
        ]
        self._mix = kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)
        self._seed = seed

    def __call__(
        self, inputs: torch.Tensor, targets: torch.Tensor, *key: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Blended inputs, and targets (batch, classes) that add up to one where each image had one class."""
        with drawn(self._seed, *key):
            mixed, shares = self._mix(inputs, targets)
        return mixed, shares


def mixing_for(fitting: Fitting, task: Task, *, classes: int, seed: int) -> Mixing | None:
    """What the options ask for.

    Raises:
        TrainingError: The task's targets can't be mixed.
    """
    if not fitting.mixup and not fitting.cutmix:
        return None
    if not task.mixes:
        asked = "mixup" if fitting.mixup else "cutmix"
        raise TrainingError(f"{asked} is for classes, and the task is {task.name!r}")
    return Mixing(fitting.mixup, fitting.cutmix, classes=classes, seed=seed)
