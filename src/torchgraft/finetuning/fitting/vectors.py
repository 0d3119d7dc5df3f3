"""Training a few vectors and the head, the rest as it is: what `bitfit` and `norms` share."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.grouping import decayed
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.job import Job

__all__ = ["biases", "norm_parameters", "vector_groups"]


def biases(model: nn.Module) -> list[nn.Parameter]:
    """Every parameter that is called a bias, those of norms included."""
    return [p for name, p in model.named_parameters() if name.rpartition(".")[2].endswith("bias")]


def norm_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Scale and shift of every normalisation: PyTorch's, or a class whose name says that it is one."""
    norms = [m for m in model.modules() if "norm" in type(m).__name__.lower()]
    own = [p for norm in norms for p in norm.parameters(recurse=False)]
    return [p for p in dict.fromkeys(own) if p.ndim <= 1]


def vector_groups(job: Job, name: str, chosen: Iterable[nn.Parameter], *, head_lr: float) -> list[Group]:
    """The chosen ones that have `requires_grad`, without weight decay, and the head.

    Raises:
        TrainingError: There is nothing of this kind outside of the head.
    """
    assert job.lr is not None
    assert job.weight_decay is not None
    head = job.head_parameters()
    vectors = [p for p in chosen if p.requires_grad and p not in set(head)]
    if not vectors:
        raise TrainingError(
            f"the model has no {name} that could be trained", hint='recipe="linear-probe" or "full"'
        )
    top = [p for p in head if p.requires_grad]
    return [
        Group(name, vectors, job.lr, 0.0),
        *decayed(job.model, "head", top, lr=job.lr * head_lr, weight_decay=job.weight_decay),
    ]
