"""What most recipes end in: these groups learn, the rest stays as it is, and this is what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from torchgraft.finetuning.fitting.freezing import modes, only_trained
from torchgraft.finetuning.fitting.grouping import parameters_of
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.loop import Loop, fit
from torchgraft.finetuning.job import Job, Trained

__all__ = ["train_groups"]


def train_groups(
    job: Job,
    groups: Sequence[Group],
    *,
    settings: Mapping[str, Any],
    frozen: Sequence[nn.Module] = (),
    augment: bool = True,
    penalty: Callable[[], torch.Tensor] | None = None,
    notes: Sequence[str] = (),
) -> Trained:
    """Run the loop with these groups alone requiring a gradient.

    Args:
        job: With its `epochs`, `lr` and `weight_decay` settled.
        groups: What learns.
        settings: The recipe's own numbers, for the run folder.
        frozen: Modules that stay in evaluation mode though they may learn, such as batch normalisation.
        augment: Whether training images may be varied.
        penalty: Added to each step's loss.
        notes: For the result.
    """
    # A model that an earlier phase has put on several processes in parts has other parameters since.
    groups = [replace(group, parameters=job.engine.current(group.parameters)) for group in groups]
    parameters = parameters_of(groups)
    trainable = sum(p.numel() for p in parameters)
    loop = Loop(groups, modes(job.model, parameters, frozen), augment=augment, penalty=penalty)
    with only_trained(job.model, parameters):
        if job.sweep is not None:
            job.sweep.run(job, loop)
        best = fit(job, loop)
    assert best.outcomes is not None
    return Trained(
        history=tuple(best.history),
        best_epoch=best.epoch,
        outcomes=best.outcomes,
        trainable=trainable,
        settings={
            "epochs": job.epochs,
            "lr": job.lr,
            "weight_decay": job.weight_decay,
            **settings,
            **asdict(job.fitting),
            "frozen_batch_norms": len(frozen),
        },
        notes=notes,
    )
