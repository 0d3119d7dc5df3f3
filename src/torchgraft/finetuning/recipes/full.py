"""Train every parameter: AdamW, a short warm-up, then a cosine; the head faster than the rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torchgraft.finetuning.fitting.freezing import frozen_batch_norms
from torchgraft.finetuning.fitting.grouping import head_and_rest, learning_parameters
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.job import Job, Trained

__all__ = ["Full"]


@dataclass(frozen=True, slots=True)
class Full:
    """The whole model, or as much of it as has `requires_grad`.

    Attributes:
        head_lr: How many times the learning rate the head gets, which usually starts anew.
    """

    head_lr: float = 10.0

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place."""
        job = _settled(job)
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        return train_groups(job, self._groups(job), frozen=frozen, settings=asdict(self))

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """Backbone and head, each with and without weight decay."""
        return group_rows(job.model, self._groups(_settled(job)))

    def _groups(self, job: Job) -> list[Group]:
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        return head_and_rest(job, learning_parameters(job.model, frozen), head_lr=self.head_lr)


def _settled(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=3e-4, weight_decay=0.02)
