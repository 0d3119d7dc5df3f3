"""A task while a model learns it, and what has to be undone when it has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from torchgraft.finetuning.scoring import device_of
from torchgraft.finetuning.tasks.head_units import can_fold, fold, unfold
from torchgraft.finetuning.tasks.regression import Regression
from torchgraft.model_info import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.finetuning.subject import Subject
    from torchgraft.finetuning.tasks.task import Task

__all__ = ["learning"]

_log = logging.getLogger(__name__)


@contextmanager
def learning(task: Task, model: nn.Module, subject: Subject, how: Preprocessing) -> Iterator[Task]:
    """The task as this model can learn it; afterwards the model answers in the user's units.

    A head that learned the same kind of numbers before goes on from what it knows. Where the head can't take
    in the numbers' mean and deviation, the numbers are learned as they are.
    """
    if isinstance(task, Regression) and task.units is not None:
        example = torch.randn(2, how.channels, *how.size, generator=torch.Generator().manual_seed(0))
        if not can_fold(task, model, subject.heads, example.to(device_of(model))):
            _log.warning(
                "the numbers are learned as they are, since the model doesn't end in one linear layer with a "
                "bias; give them about zero mean and unit deviation"
            )
            task = replace(task, units=None)
        elif subject.task == task.name and not subject.adapted:
            unfold(task, model, subject.heads)
    try:
        yield task
    finally:
        fold(task, model, subject.heads)
