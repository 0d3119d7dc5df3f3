"""Train low-rank adapters and the head (Hu et al. 2021), and merge them into the weights."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from torchgraft.anatomy.meta_twin import meta_twin
from torchgraft.anatomy.tracing import run
from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.adapters import adaptable, adapter_parameters, inject, merge, merged
from torchgraft.finetuning.fitting.grouping import decayed
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.layers import layers_of_job
from torchgraft.finetuning.fitting.options import loop_options_but
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.job import Job, Trained

__all__ = ["Lora"]


@dataclass(frozen=True, slots=True)
class Lora:
    """A product of two thin matrices is learned for each layer; the layer's own weight stays.

    Adapted are the `Linear` layers and the convolutions of one group that are called between stem and head;
    the head is trained as a whole. After training the adapters are merged, so that the model is the plain one
    it was, with other weights; what the run folder keeps is merged as well. For the memory that the optimizer
    of a full fine-tune would take. It needs the package peft.

    PyTorch's `MultiheadAttention` uses its projections' weights without calling them; of models built of it
    (torchvision's ViT) the other layers are adapted.

    Attributes:
        rank: Of the product.
        alpha: The product counts alpha / rank.
        dropout: Share of an adapter's inputs that are left out in training.
        targets: A pattern (as of `re.search`) of the paths of the layers to adapt; `None`: all.
        head_lr: How many times the learning rate the head gets.
    """

    loop_options: ClassVar[tuple[str, ...]] = loop_options_but("shard")

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str | None = None
    head_lr: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.rank, int) and self.rank >= 1):
            raise TrainingError(f"rank={self.rank!r} is not a whole number of at least 1")
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"dropout={self.dropout!r} is not a share: 0 or more, less than 1")

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place."""
        job = _settled(job)
        model, paths = job.model, self._paths(job)
        self._inject(model, paths)

        def on_best(epoch: int, outcomes: torch.Tensor) -> None:
            with merged(model):
                job.on_best(epoch, outcomes)

        try:
            trained = train_groups(
                replace(job, on_best=on_best), self._groups(job, model), settings=asdict(self)
            )
        finally:
            merge(model)  # also after an interruption the model is a plain one
        return replace(trained, notes=(*trained.notes, f"{len(paths)} layers were adapted, and merged"))

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """The adapters and the head."""
        job = _settled(job)
        twin = meta_twin(job.model)
        self._inject(twin, self._paths(job))
        return group_rows(twin, self._groups(job, twin))

    def _paths(self, job: Job) -> list[str]:
        names = {parameter: name for name, parameter in job.model.named_parameters()}
        ends = [p for name, held in layers_of_job(job) if name in ("stem", "head") for p in held]
        outside = {names[p].rpartition(".")[0] for p in ends}
        how = job.preprocessing
        example = torch.zeros(1, how.channels, *how.size, device=job.engine.device)
        called = set(run(job.model, example).paths)
        found = [path for path in adaptable(job.model) if path in called and path not in outside]
        chosen = [path for path in found if self.targets is None or re.search(self.targets, path)]
        if not chosen:
            raise TrainingError(
                "the model has no layer that could be adapted"
                if not found
                else f"targets={self.targets!r} matches none of the {len(found)} layers to adapt",
                hint=f"such as {', '.join(found[:3])}" if found else 'recipe="full" trains any model',
            )
        return chosen

    def _inject(self, model: nn.Module, paths: list[str]) -> None:
        inject(model, paths, rank=self.rank, alpha=self.alpha, dropout=self.dropout)

    def _groups(self, job: Job, model: nn.Module) -> list[Group]:
        assert job.lr is not None
        assert job.weight_decay is not None
        head = [p for path in job.heads for p in model.get_submodule(path).parameters()]
        decay = job.weight_decay
        return [
            Group("adapters", adapter_parameters(model), job.lr, decay),
            *decayed(model, "head", dict.fromkeys(head), lr=job.lr * self.head_lr, weight_decay=decay),
        ]


def _settled(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=1e-3, weight_decay=0.02)
