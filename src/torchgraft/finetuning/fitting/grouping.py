"""Parameters divided into groups: what learns at all, and with or without weight decay."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.job import Job

__all__ = ["decayed", "head_and_rest", "learning_parameters", "parameters_of"]


def learning_parameters(model: nn.Module, frozen: Iterable[nn.Module] = ()) -> list[nn.Parameter]:
    """Those with `requires_grad` that are in no `frozen` module, each once, in the model's order.

    Raises:
        TrainingError: There are none.
    """
    kept = {parameter for module in frozen for parameter in module.parameters()}
    found = [p for p in model.parameters() if p.requires_grad and p not in kept]
    if not found:
        raise TrainingError(
            "no parameter of the model is trainable", hint="model.requires_grad_(True) makes all so"
        )
    return found


def decayed(
    model: nn.Module, name: str, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float
) -> list[Group]:
    """One group without weight decay and one with: biases, norms and what the model names have none.

    A model names them by a method `no_weight_decay()`, as timm's do: class tokens, tables of positions.
    """
    listed = getattr(model, "no_weight_decay", None)
    exempt = set(listed()) if callable(listed) else set()
    spared = {p for path, p in model.named_parameters() if p.ndim <= 1 or path in exempt}
    parameters = list(parameters)
    groups = [
        Group(name, [p for p in parameters if p in spared], lr, 0.0),
        Group(name, [p for p in parameters if p not in spared], lr, weight_decay),
    ]
    return [group for group in groups if group.parameters]


def head_and_rest(job: Job, parameters: Iterable[nn.Parameter], *, head_lr: float) -> list[Group]:
    """The backbone at the job's learning rate, the head at `head_lr` times that."""
    assert job.lr is not None
    assert job.weight_decay is not None
    head = set(job.head_parameters())
    parameters = list(parameters)
    rest = [p for p in parameters if p not in head]
    top = [p for p in parameters if p in head]
    decay = job.weight_decay
    return [
        *decayed(job.model, "backbone", rest, lr=job.lr, weight_decay=decay),
        *decayed(job.model, "head", top, lr=job.lr * head_lr, weight_decay=decay),
    ]


def parameters_of(groups: Iterable[Group]) -> list[nn.Parameter]:
    """Of all groups."""
    return [parameter for group in groups for parameter in group.parameters]
