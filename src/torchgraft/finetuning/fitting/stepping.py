"""One step: the gradients of one batch or several, put together as if they were one, then the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.class_weighting import amount, class_weighting
from torchgraft.finetuning.fitting.divergence import MicroBatch
from torchgraft.finetuning.fitting.memory import memory_told
from torchgraft.finetuning.fitting.mixing import mixing_for

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from torchgraft.finetuning.job import Job

__all__ = ["Stepper"]


class Stepper:
    """Takes steps of `optimizer`.

    Args:
        job: Says how.
        model: As the engine runs it.
        optimizer: Its groups hold `parameters`.
        parameters: Whose gradient is clipped.
        penalty: Added to each step's loss.
        augment: Whether images may be mixed.
        seed: Random numbers in step `n` depend on it and on `n` alone, so that they are the same after a
            resumption.
    """

    def __init__(
        self,
        job: Job,
        model: Callable[[torch.Tensor], Any],
        optimizer: Optimizer,
        parameters: Sequence[nn.Parameter],
        *,
        penalty: Callable[[], torch.Tensor] | None,
        augment: bool,
        seed: int,
        channels_last: bool,
    ) -> None:
        self.job = job
        self.model = model
        self.optimizer = optimizer
        self._parameters = parameters
        self._penalty = penalty
        self.seed = seed
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        classes = len(job.train.classes)
        weight = class_weighting(job.train, job.fitting.class_weights)
        self._weight = weight.to(job.engine.device) if weight is not None else None
        self._mixing = mixing_for(job.fitting, job.task, classes=classes, seed=seed) if augment else None

    def step(
        self,
        batches: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
        number: int,
        check: Callable[[torch.Tensor, Sequence[MicroBatch]], object],
    ) -> None:
        """One step, number `number`.

        Args:
            batches: (inputs, targets, indices) each; a batch's mean loss counts as much as it has images.
            number: Of all steps, from 1.
            check: Told the mean loss over all images, and what the model saw, before the optimizer moves.
        """
        engine, fitting = self.job.engine, self.job.fitting
        engine.reseed(self.seed, number)
        seen = [self._seen(batch, number, place) for place, batch in enumerate(batches)]
        shares = self._shares(seen)
        mean: torch.Tensor | None = None
        with memory_told(self.job.batch_size, fitting.accumulate):
            for place, (batch, share) in enumerate(zip(seen, shares, strict=True)):
                last = place == len(seen) - 1
                with engine.micro_batch(len(batch.indices), last=last):
                    part = self.loss(batch.inputs, batch.targets)
                    if share is not None:
                        part = part * share
                    mean = part.detach() if mean is None else mean + part.detach()
                    if last:
                        check(engine.sum(mean), seen)
                    penalty = self._penalty() if last and self._penalty is not None else None
                    engine.backward(part, penalty=penalty)
            engine.step(self.optimizer, self._parameters, fitting.clip)

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch."""
        task = self.job.task
        try:
            outputs = task.outputs(self.model(inputs))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                f"batch normalisation can't learn from a batch of {len(inputs)}",
                hint="use batch_size=2 or more, or freeze_bn=True",
            ) from error
        smoothing = self.job.fitting.label_smoothing
        return task.loss(outputs.float(), targets, label_smoothing=smoothing, weight=self._weight)

    def _seen(
        self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], number: int, place: int
    ) -> MicroBatch:
        inputs, targets, indices = batch
        if self._mixing is not None:
            inputs, targets = self._mixing(inputs, targets, number, place)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=self._layout)
        return MicroBatch(inputs, targets, indices)

    def _shares(self, seen: Sequence[MicroBatch]) -> list[torch.Tensor | None]:
        """What each mean loss is multiplied by, so that their sum is the mean over all images of the step."""
        engine = self.job.engine
        if len(seen) == 1 and engine.processes == 1:
            return [None]
        amounts = [
            amount(self.job.task.name, batch.targets, len(batch.indices), self._weight) for batch in seen
        ]
        total = engine.sum(torch.stack(amounts).sum())
        total = total.clamp_min(torch.finfo(total.dtype).tiny)  # masks may have no pixel that counts
        return [(part.to(total.device) / total).float().to(engine.device) for part in amounts]
