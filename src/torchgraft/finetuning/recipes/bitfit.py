"""Train the biases and the head (Ben Zaken, Ravfogel, Goldberg 2021)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torchgraft.finetuning.fitting.freezing import frozen_batch_norms
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.fitting.vectors import biases, vector_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.job import Job, Trained

__all__ = ["BitFit"]


@dataclass(frozen=True, slots=True)
class BitFit:
    """Some thousandths of the numbers learn: every bias, those of norms included, and the head.

    A checkpoint's convolutions often have no bias of their own; then it is the norms' shifts that learn.
    Batch normalisation's statistics follow `freeze_bn`; its shift learns in any case.

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
        """The biases, and the head."""
        return group_rows(job.model, self._groups(_settled(job)))

    def _groups(self, job: Job) -> list[Group]:
        return vector_groups(job, "biases", biases(job.model), head_lr=self.head_lr)


def _settled(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=1e-3, weight_decay=0.02)
