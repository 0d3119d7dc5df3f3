"""Carries a plan out: all is read and checked first, then written. An error leaves the model as it was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AdaptError, CoverageError, ModelError
from torchgraft.planning.plans import Plan, TargetEntry
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
        CheckpointError: A tensor can't be read.
        ModelError: The plan is not bound to a model, or the model has changed since.
    """
    started = time.perf_counter()
    if plan.binding is None:
        raise ModelError(
            "this plan is not bound to a model",
            hint="load it with Plan.load(path, model=…, checkpoint=…)",
        )
    _check_gate(plan)
    model, checkpoint = plan.binding.model, plan.binding.checkpoint
    targets = targets_of(model)
    _check_unchanged(plan, targets)
    _check_values(plan, targets)
    with torch.no_grad():
        staged = [
            (targets[entry.name], _stage(entry, checkpoint, targets[entry.name].tensor))
            for entry in plan.targets
            if entry.status != "fresh" and targets[entry.name].tied_to is None
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


def _check_gate(plan: Plan) -> None:
    refused = plan.undeclared
    if not refused:
        return
    shown = "\n".join(f"    {entry.name} {list(entry.shape)}: {entry.why}" for entry in refused[:8])
    more = f"\n    … and {len(refused) - 8} more" if len(refused) > 8 else ""
    notes = "".join(f"\n    note: {note}" for note in plan.notes)
    raise CoverageError(
        f"{len(refused)} of the model's {len(plan.targets)} tensors would stay untrained, "
        f"and nobody declared them as new\n{shown}{more}{notes}",
        where=f"{plan.model} ← {plan.checkpoint}",
        hint=f"where that is meant, declare it: allow_fresh={_declaration(refused)}; "
        "where names differ, say how: rename={'old.': 'new.'}",
    )


def _declaration(refused: tuple[TargetEntry, ...]) -> str:
    roles = {entry.role for entry in refused}
    if "body" not in roles:
        return repr(sorted(roles)) if len(roles) > 1 else repr(roles.pop())
    owners = sorted({entry.name.rpartition(".")[0] or entry.name for entry in refused})
    return repr(owners if len(owners) <= 3 else [*owners[:3], "…"])


def _check_unchanged(plan: Plan, targets: Mapping[str, Target]) -> None:
    for entry in plan.targets:
        target = targets.get(entry.name)
        if target is None or target.named.shape != entry.shape:
            now = "is gone" if target is None else f"has shape {list(target.named.shape)}"
            raise ModelError(
                f"the model has changed since the plan was made: it {now}, the plan says {list(entry.shape)}",
                where=entry.name,
                hint="make the plan again",
            )
    missing = targets.keys() - {entry.name for entry in plan.targets}
    if missing:
        raise ModelError(
            "the model has changed since the plan was made: this tensor is new",
            where=min(missing),
            hint="make the plan again",
        )


def _check_values(plan: Plan, targets: Mapping[str, Target]) -> None:
    for entry in plan.targets:
        if entry.status == "fresh" and targets[entry.name].tensor.is_meta:
            raise ModelError(
                "would stay fresh, but the model is on the meta device, where it has no values to keep",
                where=entry.name,
                hint="build the model off the meta device, or use torchgraft.create_model",
            )


def _stage(entry: TargetEntry, checkpoint: Checkpoint, current: torch.Tensor) -> torch.Tensor:
    assert entry.source is not None
    value = checkpoint[entry.source].view()
    for op in entry.ops:
        value = op.apply(value, current if op.needs_base else None)
    if value.shape != current.shape:
        raise AdaptError(
            f"the plan's steps give shape {list(value.shape)}, the model wants {list(current.shape)}",
            where=entry.name,
            hint="make the plan again",
        )
    return value


def _materialise(target: Target, value: torch.Tensor) -> torch.Tensor:
    owned = value.to(target.tensor.dtype, copy=True).contiguous()
    if target.is_buffer:
        return owned
    return nn.Parameter(owned, requires_grad=target.tensor.requires_grad)


def _replace(model: nn.Module, made: Mapping[int, torch.Tensor]) -> None:
    """Put what was made where the meta tensors were, in every module that shares them."""
    for module in model.modules():
        held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for attribute, tensor in held:
            if id(tensor) in made:
                setattr(module, attribute, made[id(tensor)])
