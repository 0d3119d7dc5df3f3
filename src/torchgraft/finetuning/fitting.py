"""The training loop: plain PyTorch, an epoch at a time, the best one kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from torchgraft.errors import TrainingError
from torchgraft.finetuning.augmentation import Augmentation
from torchgraft.finetuning.batches import EpochOrder, Inputs, batches
from torchgraft.finetuning.best import Best, epoch_of
from torchgraft.finetuning.events import Event
from torchgraft.finetuning.job import Job
from torchgraft.finetuning.outputs import channels_last, contiguous, logits_of
from torchgraft.finetuning.scoring import class_scores

__all__ = ["Loop", "fit", "warmup_cosine"]


@dataclass(frozen=True, slots=True)
class Loop:
    """How to fit.

    Attributes:
        groups: AdamW's parameter groups.
        set_mode: Puts the model's parts into training or evaluation mode before each epoch.
        augmentation: Varies the training images.
        warmup: Share of all steps in which the learning rate rises.
        clip: The gradient's largest norm.
        label_smoothing: Share of the target that is spread over all classes.
    """

    groups: list[dict[str, Any]]
    set_mode: Callable[[nn.Module], object]
    augmentation: Augmentation | None = None
    warmup: float = 0.1
    clip: float | None = 1.0
    label_smoothing: float = 0.0


def fit(job: Job, loop: Loop) -> Best:
    """Train `job.model` in place; it has the best epoch's weights afterwards, also after an interruption.

    Raises:
        TrainingError: The loss is no longer a finite number.
    """
    with channels_last(job.model):
        best = Best(job.model, job.patience)
        try:
            _Run(job, loop, best).epochs()
        finally:
            best.restore()
            job.model.eval()
    return best


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Share of the learning rate at `step`: linear rise over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


class _Run:
    def __init__(self, job: Job, loop: Loop, best: Best) -> None:
        assert job.epochs is not None
        self.job, self.loop, self.best = job, loop, best
        engine = job.engine
        self.inputs = Inputs(job.train, job.preprocessing, loop.augmentation)
        self.order = EpochOrder(len(job.train), job.batch_size, job.seed)
        self.loader = engine.loader(
            batches(self.inputs, batch_size=job.batch_size, workers=job.workers, order=self.order)
        )
        self.val_loader = engine.loader(
            batches(
                Inputs(job.val, job.preprocessing), batch_size=max(64, job.batch_size), workers=job.workers
            )
        )
        self.model = engine.model(job.model)
        self.optimizer = engine.optimizer(AdamW(loop.groups))
        self.parameters = [p for group in loop.groups for p in group["params"]]
        self.total = job.epochs * len(self.loader)
        if job.max_steps is not None:
            self.total = min(self.total, job.max_steps)
        warmup = round(loop.warmup * self.total)
        self.schedule = LambdaLR(
            getattr(self.optimizer, "optimizer", self.optimizer),
            lambda step: warmup_cosine(step, self.total, warmup),
        )
        self.step = 0
        self.began = time.monotonic()

    def epochs(self) -> None:
        while self.step < self.total and not self.best.exhausted:
            began = time.monotonic()
            number = len(self.best.history) + 1
            train_loss = self.train(number)
            probabilities = self.validate(number)
            seconds = time.monotonic() - began
            labels = self.job.val.labels
            lr = float(self.schedule.get_last_lr()[0])
            epoch = epoch_of(number, train_loss, probabilities, labels, lr=lr, seconds=seconds)
            improved = self.best.add(epoch, probabilities)
            self.job.on_epoch(epoch, -(-self.total // len(self.loader)))
            if improved:
                with contiguous(self.job.model):
                    self.job.on_best(number, probabilities)

    def train(self, number: int) -> float:
        """One epoch, or what is left of `max_steps`; the mean loss."""
        self.order.set_epoch(number)
        self.inputs.epoch = number
        self.loop.set_mode(self.job.model)
        losses: list[float] = []
        for inputs, labels, _ in self.loader:
            if self.step >= self.total:
                break
            loss = self.loss(inputs, labels)
            value = self.job.engine.mean(loss)
            if not math.isfinite(value):
                raise self.diverged(value, number)
            self.job.engine.step(loss, self.optimizer, self.parameters, self.loop.clip)
            self.schedule.step()
            self.step += 1
            losses.append(value)
            self.emit("training", self.step, self.total, number, sum(losses) / len(losses))
        return sum(losses) / len(losses)

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        try:
            logits = logits_of(self.model(inputs))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                f"batch normalisation can't learn from a batch of {len(inputs)}",
                hint="use batch_size=2 or more, or freeze_bn=True",
            ) from error
        smoothing = self.loop.label_smoothing
        return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)

    def validate(self, number: int) -> torch.Tensor:
        """Probabilities (images, classes) on the validation images."""
        engine, total = self.job.engine, len(self.job.val)
        return class_scores(
            self.job.model,
            self.val_loader,
            device=engine.device,
            gather=engine.gather,
            progress=lambda done: self.emit("validating", min(done, total), total, number, None),
        )

    def emit(self, stage: Any, step: int, total: int, number: int, loss: float | None) -> None:
        self.job.emit(Event(stage, step, total, number, loss))

    def diverged(self, value: float, number: int) -> TrainingError:
        lr = max(group["initial_lr"] for group in self.schedule.optimizer.param_groups)
        return TrainingError(
            f"the loss became {value} in step {self.step + 1} (epoch {number}) at learning rate {lr:g}",
            hint=f"try lr={(self.job.lr or lr) / 10:g}",
        )
