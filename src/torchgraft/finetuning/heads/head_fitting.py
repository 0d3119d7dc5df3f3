"""Which regression finds the head of which task."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from torchgraft.finetuning.heads.linear_head import Head, standardised
from torchgraft.finetuning.heads.logistic import fit_logistic
from torchgraft.finetuning.heads.ridge import ridge
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.job import Job
from torchgraft.finetuning.tasks.task import Task

__all__ = ["can_fit", "heads_fitted", "targets_of"]


def can_fit(task: Task) -> bool:
    """Whether the task is one of those below."""
    return task.name in ("classes", "multi-label", "regression")


def targets_of(task: Task, images: Images) -> torch.Tensor:
    """As a loader stacks them."""
    return torch.stack([torch.as_tensor(task.target(label)) for label in images.labels])


def heads_fitted(
    job: Job, features: torch.Tensor, *, bias: bool, lr: float, rounds: int, iterations: int
) -> Callable[[float], Iterator[Head]]:
    """What gives the heads of a fit to the training features, round by round, by the strength of its penalty.

    Classes: logistic regression. Several labels an image: one logistic regression each, with the same
    penalty. Numbers: ridge regression, which needs but one round.
    """
    targets = targets_of(job.task, job.train)
    if job.task.name == "regression":
        solved = ridge(features, targets, bias=bias)
        return lambda l2: iter([solved(l2)])
    outputs = len(job.train.classes)
    standard = standardised(features, bias=bias)

    def loss(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return job.task.loss(scores, wanted)

    return lambda l2: fit_logistic(
        features,
        targets,
        outputs,
        bias=bias,
        # the mean over the labels makes their loss so many times smaller than that of one alone
        l2=l2 / outputs if job.task.name == "multi-label" else l2,
        lr=lr,
        rounds=rounds,
        iterations=iterations,
        loss=loss,
        standard=standard,
    )
