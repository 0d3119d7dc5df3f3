"""Train everything, each layer a little slower than the one above it (ULMFiT, ELECTRA, BEiT, MAE)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.freezing import frozen_batch_norms
from torchgraft.finetuning.fitting.grouping import decayed, learning_parameters
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.layers import layers_of_job
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.job import Job, Trained

__all__ = ["Layerwise"]


@dataclass(frozen=True, slots=True)
class Layerwise:
    """Layer-wise learning-rate decay: `lr` at the head, `layer_decay` times the one above further down.

    Of blocks that run one after the other each is a layer; see the table of groups. The usual recipe for
    vision transformers, where `layer_decay` is 0.65 to 0.75.

    Attributes:
        layer_decay: Above 0, at most 1; 1 is one rate for all.
    """

    layer_decay: float = 0.75

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise TrainingError(f"layer_decay={self.layer_decay!r} is not a number above 0 and at most 1")

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place."""
        job = _settled(job)
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        return train_groups(job, self._groups(job), frozen=frozen, settings=asdict(self))

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """A layer each, from the input up; where it has both, one with and one without weight decay."""
        return group_rows(job.model, self._groups(_settled(job)))

    def _groups(self, job: Job) -> list[Group]:
        assert job.lr is not None
        assert job.weight_decay is not None
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        learning = set(learning_parameters(job.model, frozen))
        layers = layers_of_job(job)
        groups = []
        for depth, (name, parameters) in enumerate(layers):
            lr = job.lr * self.layer_decay ** (len(layers) - 1 - depth)
            chosen = [p for p in parameters if p in learning]
            groups += decayed(job.model, name, chosen, lr=lr, weight_decay=job.weight_decay)
        return groups


def _settled(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=1e-3, weight_decay=0.05)
