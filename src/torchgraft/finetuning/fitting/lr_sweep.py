"""Steps at learning rates that grow from tiny to far too large, and the loss at each (Smith 2015)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning.events import Event
from torchgraft.finetuning.fitting.loop import Loop
from torchgraft.finetuning.fitting.optimizers import optimizer_named
from torchgraft.finetuning.fitting.stepping import Stepper
from torchgraft.finetuning.inputs.augmentation import Augmentation
from torchgraft.finetuning.inputs.batches import EpochOrder, Inputs, batches
from torchgraft.finetuning.job import Job

__all__ = ["Sweep", "SweptError", "smoothed"]

_SMOOTHING = 0.9
_DIVERGED = 4.0
"""The sweep ends where the smoothed loss is so many times its lowest."""


class SweptError(Exception):
    """The sweep is over; unwinds the recipe that it was made in.

    Attributes:
        lrs: Each step's.
        losses: Each step's, before the step was taken.
    """

    def __init__(self, lrs: list[float], losses: list[float]) -> None:
        super().__init__()
        self.lrs = lrs
        self.losses = losses


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is done instead of a training.

    Attributes:
        steps: How many, if the loss does not run away before.
        lowest: The first learning rate.
        highest: The last one; in between, each is the one before times the same factor.
    """

    steps: int
    lowest: float
    highest: float

    def run(self, job: Job, loop: Loop) -> None:
        """Take the steps; a group whose rate is a multiple of the job's keeps being that.

        Raises:
            SweptError: Always, with what was found.
            TrainingError: The loss is not finite from the first step on.
        """
        assert job.lr is not None
        model = job.engine.model(job.model)
        groups = [replace(group, parameters=job.engine.current(group.parameters)) for group in loop.groups]
        optimizer = optimizer_named(job.fitting.optimizer, groups)
        ratios = [group.lr / job.lr for group in groups]
        parameters = [parameter for group in groups for parameter in group.parameters]
        lrs: list[float] = []
        losses: list[float] = []
        stepper = Stepper(
            job,
            model,
            optimizer,
            parameters,
            penalty=loop.penalty,
            augment=loop.augment,
            seed=job.seed,
            channels_last=False,
        )
        loop.set_mode(job.model)
        for number, batch in zip(range(1, self.steps + 1), _batches(job, loop), strict=False):
            lr = self.lowest * (self.highest / self.lowest) ** ((number - 1) / max(1, self.steps - 1))
            for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
                group["lr"] = lr * ratio
            stepper.step([batch], number, lambda loss, _: losses.append(float(loss)))
            if not math.isfinite(losses[-1]):
                losses.pop()
                break
            lrs.append(lr)
            job.emit(Event("training", number, self.steps, 1, losses[-1]))
            line = smoothed(losses)
            if line[-1] > _DIVERGED * min(line):
                break
        if not losses:
            raise TrainingError("the loss is not a finite number before any step was taken")
        raise SweptError(lrs, losses)


def smoothed(losses: list[float]) -> list[float]:
    """A moving average that forgets, without the bias towards its start."""
    average, line = 0.0, []
    for number, loss in enumerate(losses, start=1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        line.append(average / (1 - _SMOOTHING**number))
    return line


def _batches(job: Job, loop: Loop) -> Iterator[tuple[torch.Tensor, Any, torch.Tensor]]:
    """The training's, epoch after epoch."""
    strength = "light" if job.fitting.augment is True else job.fitting.augment
    augmentation = None
    if loop.augment and strength:
        augmentation = Augmentation(
            job.preprocessing, scale=job.fitting.crop_scale, seed=job.seed, strength=strength
        )
    inputs = Inputs(job.train, job.preprocessing, augmentation, target=job.task.target)
    order = EpochOrder(len(job.train), job.batch_size, job.seed)
    loader = job.engine.loader(batches(inputs, batch_size=job.batch_size, workers=job.workers, order=order))
    for epoch in count(1):
        order.set_epoch(epoch)
        inputs.epoch = epoch
        yield from loader
