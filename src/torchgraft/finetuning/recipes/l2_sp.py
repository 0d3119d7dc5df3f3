"""Train everything, and hold it near where it started (Li, Grandvalet, Davoine 2018)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.freezing import frozen_batch_norms
from torchgraft.finetuning.fitting.grouping import learning_parameters
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.job import Job, Trained
from torchgraft.finetuning.processes.sharding import in_parts_like

__all__ = ["L2SP", "distance_penalty"]


@dataclass(frozen=True, slots=True)
class L2SP:
    """The loss + alpha/2 · ‖w − w₀‖² of the backbone + beta/2 · ‖w‖² of the head.

    w₀ are the weights that training starts from. The penalty is part of the loss, so there is no
    `weight_decay` beside it. For few images of a kind that the backbone knows well.

    Attributes:
        alpha: How strongly the backbone is held to where it started.
        beta: How strongly the head's weights, which start anew, are held to zero.
        head_lr: How many times the learning rate the head gets.
    """

    alpha: float = 0.1
    beta: float = 0.01
    head_lr: float = 10.0

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place."""
        job = _settled(job)
        groups = self._groups(job)
        head = set(job.head_parameters())
        learning = [parameter for group in groups for parameter in group.parameters]
        penalty = distance_penalty(
            [p for p in learning if p not in head],
            [p for p in learning if p in head],
            alpha=self.alpha,
            beta=self.beta,
            current=job.engine.current,
        )
        frozen = frozen_batch_norms(job.model, job.fitting.freeze_bn)
        return train_groups(job, groups, frozen=frozen, penalty=penalty, settings=asdict(self))

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """Backbone and head."""
        return group_rows(job.model, self._groups(_settled(job)))

    def _groups(self, job: Job) -> list[Group]:
        assert job.lr is not None
        head = set(job.head_parameters())
        learning = learning_parameters(job.model, frozen_batch_norms(job.model, job.fitting.freeze_bn))
        groups = [
            Group("backbone", [p for p in learning if p not in head], job.lr, 0.0),
            Group("head", [p for p in learning if p in head], job.lr * self.head_lr, 0.0),
        ]
        return [group for group in groups if group.parameters]


def distance_penalty(
    backbone: list[nn.Parameter],
    head: list[nn.Parameter],
    *,
    alpha: float,
    beta: float,
    current: Callable[[list[nn.Parameter]], list[nn.Parameter]] = lambda parameters: parameters,
) -> Callable[[], torch.Tensor]:
    """Gives alpha/2 · Σ‖w − w₀‖² over the backbone + beta/2 · Σ‖w‖² over the head; w₀ is now.

    `current` says what the parameters have become, which may be in parts on several processes.
    """
    start = [parameter.detach().clone() for parameter in backbone]

    def penalty() -> torch.Tensor:
        held = current(backbone)
        start[:] = [in_parts_like(then, now) for then, now in zip(start, held, strict=True)]
        away = [(now - then).square().sum() for now, then in zip(held, start, strict=True)]
        size = [parameter.square().sum() for parameter in current(head)]
        terms = [0.5 * alpha * term for term in away] + [0.5 * beta * term for term in size]
        return torch.stack(terms).sum()

    return penalty


def _settled(job: Job) -> Job:
    if job.weight_decay:
        raise TrainingError(
            "recipe 'l2-sp' can't use the option 'weight_decay'", hint="its own are alpha and beta"
        )
    return job.with_defaults(epochs=10, lr=3e-4, weight_decay=0.0)
