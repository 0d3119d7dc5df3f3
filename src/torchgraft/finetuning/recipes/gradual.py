"""The head first, then ever more of what is under it (gradual unfreezing: Howard, Ruder 2018, ULMFiT)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.freezing import frozen_batch_norms
from torchgraft.finetuning.fitting.grouping import head_and_rest, learning_parameters
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.layers import layers_of_job
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.job import Job, Trained

__all__ = ["Gradual"]


@dataclass(frozen=True, slots=True)
class Gradual:
    """In each phase a further part of the model begins to learn, from the head down.

    The first phase trains the head, the last one everything; each but the last is one epoch long, and the
    last has the rest of `epochs`. Each has its own warm-up and cosine. What does not learn yet is in
    evaluation mode, and no gradient is computed for it. `max_steps` goes for each phase.

    Attributes:
        phases: How many, the head's included; no more than there are layers or epochs.
        head_lr: How many times the learning rate the head gets.
    """

    phases: int = 4
    head_lr: float = 10.0

    def __post_init__(self) -> None:
        if self.phases < 1:
            raise TrainingError(f"phases={self.phases!r} is not a whole number of at least 1")

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place."""
        job = _settled(job)
        assert job.epochs is not None
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        phases = self._phases(job)
        trained: Trained | None = None
        for number, groups in enumerate(phases, start=1):
            epochs = 1 if number < len(phases) else job.epochs - len(phases) + 1
            part = replace(job, epochs=epochs, after=trained)
            trained = train_groups(part, groups, frozen=frozen, settings=asdict(self))
        assert trained is not None
        return replace(trained, settings={**trained.settings, "epochs": job.epochs, "phases": len(phases)})

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """Of each phase."""
        job = _settled(job)
        phases = enumerate(self._phases(job), start=1)
        return tuple(
            row for number, groups in phases for row in group_rows(job.model, groups, phase=f"phase {number}")
        )

    def _phases(self, job: Job) -> list[list[Group]]:
        assert job.epochs is not None
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        learning = set(learning_parameters(job.model, frozen))
        layers = [[p for p in held if p in learning] for _, held in layers_of_job(job)]
        layers = [held for held in layers if held][::-1]
        count = min(self.phases, len(layers), job.epochs)
        phases = []
        for number in range(count):
            # the head alone, then equal shares of the rest
            depth = 1 + (-(-number * (len(layers) - 1) // (count - 1)) if count > 1 else len(layers) - 1)
            opened = [p for held in layers[:depth] for p in held]
            phases.append(head_and_rest(job, opened, head_lr=self.head_lr))
        return phases


def _settled(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=3e-4, weight_decay=0.02)
