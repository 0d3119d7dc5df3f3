"""Train the scales and shifts of all normalisations, and the head."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torchgraft.finetuning.fitting.freezing import frozen_batch_norms
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.fitting.vectors import norm_parameters, vector_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.job import Job, Trained

__all__ = ["Norms"]


@dataclass(frozen=True, slots=True)
class Norms:
    """Some thousandths of the numbers learn: batch, layer, group and RMS norms', and the head.

    Batch normalisation's statistics follow `freeze_bn`; its scale and shift learn in any case.
    Frankle, Schwab, Morcos (2020) show how much these alone can do.

    Attributes:
        head_lr: How many times the learning rate the head gets.
    """

    head_lr: float = 1.0

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place."""
        job = _settled(job)
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        return train_groups(job, self._groups(job), frozen=frozen, settings=asdict(self))

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """The norms, and the head."""
        return group_rows(job.model, self._groups(_settled(job)))

    def _groups(self, job: Job) -> list[Group]:
        return vector_groups(job, "norms", norm_parameters(job.model), head_lr=self.head_lr)


def _settled(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=1e-3, weight_decay=0.02)
