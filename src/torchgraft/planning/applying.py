"""Carries a plan out: all is read and checked first, then written. An error leaves the model as it was."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from torchgraft.adapting.ops import Op
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AdaptError, CheckpointError, ModelError
from torchgraft.matching import Part
from torchgraft.planning.checking import check_checkpoint, check_gate, check_model, check_places
from torchgraft.planning.entries import TargetEntry
from torchgraft.planning.plans import Plan
from torchgraft.planning.targets import Target, targets_of

__all__ = ["Binding", "GraftReport", "apply_plan"]


@dataclass(frozen=True, slots=True)
class Binding:
    """The model and the weights that a plan was made for."""

    model: nn.Module
    checkpoint: Checkpoint


@dataclass(frozen=True)
class GraftReport:
    """What was done: the plan that was applied, the model that now holds the weights, the time it took."""

    plan: Plan
    model: nn.Module
    seconds: float

    def __str__(self) -> str:
        return f"{self.plan.summary} in {self.seconds:.2f} s"


def apply_plan(plan: Plan) -> GraftReport:
    """Write the weights into the model that the plan is bound to.

    A parameter keeps its identity, device and dtype: optimizers and tied modules see the new values.
    On the meta device, where there is nothing to write to, it is replaced by one that holds them.

    Raises:
        CoverageError: Tensors that nobody declared as new would stay untrained.
        CheckpointError: A tensor can't be read, or is not what the plan was made for.
        FetchError: The checkpoint is a remote file, and a part of it can't be had.
        ModelError: The plan is not bound to a model, the model has changed since, or can't be written to.
    """
    started = time.perf_counter()
    if plan.binding is None:
        raise ModelError(
            "this plan is not bound to a model",
            hint="bind it to the model and the weights it was made for: plan.bind(model, checkpoint).apply()",
        )
    check_gate(plan)
    model, checkpoint = plan.binding.model, plan.binding.checkpoint
    targets = targets_of(model)
    check_model(plan, targets)
    check_checkpoint(plan, checkpoint, targets)
    check_places(plan, model, targets)
    written = {_memory(target.tensor) for target in targets.values()} - {None}
    filled = [
        entry for entry in plan.targets if entry.status != "fresh" and targets[entry.name].tied_to is None
    ]
    with torch.no_grad():
        with checkpoint.prefetch([key for entry in filled for key in entry.sources]):
            staged = [
                (targets[entry.name], _stage(entry, checkpoint, targets[entry.name].tensor, written))
                for entry in filled
            ]
        made: dict[int, torch.Tensor] = {}
        for target, value in staged:
            if target.tensor.is_meta:
                made[id(target.tensor)] = _materialise(target, value)
            else:
                target.tensor.copy_(value)
        if made:
            _replace(model, made)
    return GraftReport(plan, model, time.perf_counter() - started)


def _stage(
    entry: TargetEntry, checkpoint: Checkpoint, current: torch.Tensor, written: set[object]
) -> torch.Tensor:
    if entry.joined:
        value = torch.cat([_rows(part, checkpoint, current.dtype) for part in entry.joined])
        for op in entry.ops:
            value = op.apply(value)
    else:
        assert entry.source is not None
        value = _taken(entry.source, entry.ops, checkpoint, current)
    if value.shape != current.shape:
        raise AdaptError(
            f"the plan's steps give shape {list(value.shape)}, the model wants {list(current.shape)}",
            where=entry.name,
            hint="make the plan again",
        )
    # weights of the model itself, under other names: one would be overwritten before it is read
    return value.clone() if _memory(value) in written else value


def _rows(part: Part, checkpoint: Checkpoint, dtype: torch.dtype) -> torch.Tensor:
    if part.source is None:
        return torch.zeros(part.shape, dtype=dtype)
    return _taken(part.source, part.ops, checkpoint, None).to(dtype)


def _taken(
    source: str, ops: Sequence[Op], checkpoint: Checkpoint, current: torch.Tensor | None
) -> torch.Tensor:
    value = checkpoint[source].view()
    if value.is_meta:
        raise CheckpointError(
            "is on the meta device: it has no values", where=source, hint="give weights that hold values"
        )
    if value.layout != torch.strided:  # a part of a sparse tensor is read as a dense one, within a limit
        value = checkpoint[source].view((...,))
    for op in ops:
        value = op.apply(value, current if op.needs_base else None)
    return value


def _memory(tensor: torch.Tensor) -> object:
    """What tells the memory behind a tensor from other memory; `None` where there is none."""
    place = 0 if tensor.is_meta else tensor.untyped_storage().data_ptr()
    return (tensor.device, place) if place else None


def _materialise(target: Target, value: torch.Tensor) -> torch.Tensor:
    owned = value.to(target.tensor.dtype, copy=True).contiguous()
    if target.is_buffer:
        return owned
    return nn.Parameter(owned, requires_grad=target.tensor.requires_grad)


def _replace(model: nn.Module, made: Mapping[int, torch.Tensor]) -> None:
    """Put what was made where the meta tensors were, in every module and attribute that shares them."""
    for module in model.modules():
        held = [
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        ]
        for attribute, tensor in held:
            if id(tensor) in made:
                setattr(module, attribute, made[id(tensor)])
