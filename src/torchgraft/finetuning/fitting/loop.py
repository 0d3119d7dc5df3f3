"""The training loop: plain PyTorch, an epoch at a time, the best one kept, to be gone on with at any step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from torchgraft.finetuning.best import Best
from torchgraft.finetuning.fitting.compiling import compiled
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.phase import Phase
from torchgraft.finetuning.fitting.stopping import stopping
from torchgraft.finetuning.job import Job
from torchgraft.finetuning.memory_layout import channels_last, gains_from_channels_last

__all__ = ["Loop", "fit"]


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """What a recipe decides; all else is in `job.fitting`.

    Attributes:
        groups: What learns, and how fast.
        set_mode: Puts the model's parts into training or evaluation mode before each epoch.
        augment: Whether training images may be varied.
        penalty: Added to each step's loss, such as the distance from where training began.
        begin_epoch: Called before each epoch with its number, from 1, and how many there will be; it may
            change which parameters require a gradient. A resumed run calls it for the epochs before, too.
    """

    groups: Sequence[Group]
    set_mode: Callable[[nn.Module], object]
    augment: bool = True
    penalty: Callable[[], torch.Tensor] | None = None
    begin_epoch: Callable[[int, int], object] | None = None


def fit(job: Job, loop: Loop) -> Best:
    """Train `job.model` in place; it has the best epoch's weights afterwards, also after an interruption.

    It is one phase of the run (`job.progress`): if that was finished before, only its outcome is given back,
    and if it was begun, it goes on at the step where its last checkpoint was written.

    Raises:
        TrainingError: The loss is no longer a finite number.
    """
    best = Best(job.model, job.task.rank, job.patience, after=job.after)
    if job.progress.recall(best):
        best.restore()
        job.model.eval()
        return best
    wanted = job.fitting.channels_last
    lasts = gains_from_channels_last(job.model) if wanted is None else wanted
    with channels_last(job.model, lasts), compiled(job.model, job.fitting.compile), stopping() as stop:
        try:
            run = Phase(job, loop, best, stop, channels_last=lasts)
            run.epochs()
            job.progress.keep(best, step=run.step, last=run.last())
        finally:
            best.restore()
            job.model.eval()
    return best
