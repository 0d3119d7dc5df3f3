"""First the head alone, on features, then everything at a lower rate (Kumar et al. 2022)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from torchgraft.finetuning.fitting.options import Fitting
from torchgraft.finetuning.group_table import GroupRow
from torchgraft.finetuning.job import Job, Trained
from torchgraft.finetuning.recipes.full import Full
from torchgraft.finetuning.recipes.linear_probe import LinearProbe

__all__ = ["LpFt"]


@dataclass(frozen=True, slots=True)
class LpFt:
    """A linear probe, then a full fine-tune that starts from its head.

    A new head's gradients are large and random, and bend the features that pretraining gave. A head that
    fits them already does not: better than `full` on photos of another kind than those trained on.
    `epochs`, `lr` and `weight_decay` are the second part's; the first has its own. `max_steps` goes for
    each part. Of all epochs the best is kept, the probe's included.

    Attributes:
        head_lr: How many times the learning rate the head gets in the second part.
        search: See `LinearProbe`.
    """

    head_lr: float = 1.0
    search: bool = True

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place."""
        probe = LinearProbe(search=self.search).train(_for_probe(job))
        full = Full(head_lr=self.head_lr).train(replace(_settled(job), after=probe))
        return replace(
            full,
            settings={**full.settings, **asdict(self), "probe": probe.settings},
            notes=(*probe.notes, *full.notes),
        )

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """Of both parts."""
        probe = LinearProbe(search=self.search).groups(_for_probe(job))
        full = Full(head_lr=self.head_lr).groups(_settled(job))
        return (
            *(replace(row, phase="probe") for row in probe),
            *(replace(row, phase="full") for row in full),
        )


def _for_probe(job: Job) -> Job:
    return replace(job, epochs=None, lr=None, weight_decay=None, fitting=Fitting())


def _settled(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=1e-4, weight_decay=0.02)
