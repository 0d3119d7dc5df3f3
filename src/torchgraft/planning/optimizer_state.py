"""An optimizer's state through a plan, so that training goes on with the changed model where it stopped."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from torchgraft.errors import ModelError
from torchgraft.formats.container import Placeholder
from torchgraft.planning.entries import TargetEntry
from torchgraft.planning.moments import carried, obstacle
from torchgraft.planning.old_optimizer import OldOptimizer, find_state, tensor_of
from torchgraft.planning.plans import Plan

__all__ = ["OptimizerState", "Settings", "optimizer_state"]

Settings: TypeAlias = Literal["checkpoint", "optimizer"]

_OF_THE_MACHINE = ("params", "param_names", "foreach", "fused", "capturable", "differentiable")
_BY_SCHEDULERS = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr")
_LATER = ("maximize", "decoupled_weight_decay", "amsgrad", "nesterov")
"""Settings that some versions of PyTorch do not have yet; all others tell one optimizer from another."""


@dataclass(frozen=True, eq=False)
class OptimizerState:
    """What the new optimizer takes: `optimizer.load_state_dict(carried.state_dict)`.

    Attributes:
        state_dict: As the optimizer's own `state_dict()`; all tensors in memory of their own.
        carried: The model's parameters that go on where they stopped.
        fresh: Those that start without a past, and why.
        how: How it is known which parameter is which, in words.
    """

    state_dict: dict[str, Any]
    carried: tuple[str, ...]
    fresh: Mapping[str, str]
    how: str

    def __str__(self) -> str:
        total = len(self.carried) + len(self.fresh)
        lines = [f"{len(self.carried)} of {total} parameters go on where they stopped, paired {self.how}"]
        return "\n".join(lines + [f"  anew: {name}: {why}" for name, why in self.fresh.items()])


def optimizer_state(
    plan: Plan,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any] | str | os.PathLike[str] | None,
    param_names: Sequence[str] | None,
    settings: Settings,
) -> OptimizerState:
    """Carry the state along; see `Plan.optimizer_state`."""
    if plan.binding is None:
        raise ModelError(
            "this plan is not bound to a model",
            hint="bind it to the model and the weights it was made for: plan.bind(model, checkpoint)",
        )
    model, checkpoint = plan.binding.model, plan.binding.checkpoint
    old = OldOptimizer.read(
        find_state(state, checkpoint), checkpoint, plan.targets, plan.sources, param_names
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    entries = {entry.name: entry for entry in plan.targets}
    new = optimizer.state_dict()
    kept: dict[int, dict[str, Any]] = {}
    fresh: dict[str, str] = {}
    done: list[str] = []
    for group, shown in zip(optimizer.param_groups, new["param_groups"], strict=True):
        for parameter, number in zip(group["params"], shown["params"], strict=True):
            name = names.get(id(parameter))
            if name is None:
                raise ModelError(
                    f"the optimizer has a parameter of shape {list(parameter.shape)} that is not the model's",
                    hint="make the optimizer after the plan was applied, which may make new parameters",
                )
            found = _carried(entries[name], old, parameter)
            if isinstance(found, str):
                fresh[name] = found
            else:
                kept[number] = found
                done.append(name)
    groups = _groups(old.groups, new["param_groups"], optimizer.defaults, settings)
    return OptimizerState({**new, "state": kept, "param_groups": groups}, tuple(done), fresh, old.how)


def _carried(entry: TargetEntry, old: OldOptimizer, parameter: torch.Tensor) -> dict[str, Any] | str:
    """What is kept of a parameter, or why nothing is."""
    if entry.status == "fresh":
        return f"its weight is new: {entry.why}"
    states = {key: kept for key in entry.sources if (kept := old.of(key))}
    if not states:
        return "the old optimizer kept nothing of it"
    step = obstacle(entry)
    if step is not None:
        return f"its weight was changed in a way that gradients can't follow: {step}"
    made: dict[str, Any] = {}
    for name in dict.fromkeys(name for kept in states.values() for name in kept):
        values = {key: kept[name] for key, kept in states.items() if name in kept}
        shaped = {key: tensor for key, value in values.items() if (tensor := tensor_of(value)) is not None}
        sample = next(iter(shaped.values()), None)
        if sample is None:
            made[name] = max(values.values()) if name == "step" else next(iter(values.values()))
        elif name == "step" or _is_counter(sample, entry):
            made[name] = torch.stack(list(shaped.values())).amax(0) if name == "step" else sample.clone()
        else:
            value = carried(entry, name, shaped.get, parameter.detach().to(sample.device))
            made[name] = value.to(sample.dtype).clone(memory_format=torch.contiguous_format)
    return made


def _is_counter(sample: torch.Tensor, entry: TargetEntry) -> bool:
    """A number beside a parameter that is more than a number: it is kept for all of it."""
    return sample.numel() == 1 and math.prod(entry.source_shape or ()) != 1


def _groups(
    old: Sequence[Mapping[str, Any]],
    new: Sequence[Mapping[str, Any]],
    defaults: Mapping[str, Any],
    settings: Settings,
) -> list[dict[str, Any]]:
    neutral = {*_OF_THE_MACHINE, *_BY_SCHEDULERS, *_LATER}
    ours, theirs = set(defaults) - neutral, {key for group in old for key in group} - neutral
    if ours - theirs and theirs - ours:
        raise ModelError(
            f"the state is another optimizer's: its settings are {', '.join(sorted(theirs))}, this one's are "
            f"{', '.join(sorted(ours))}",
            hint="make an optimizer of the class that was saved, or start this one anew",
        )
    if settings == "optimizer":
        return [dict(group) for group in new]
    if settings != "checkpoint":
        raise ModelError(f"settings={settings!r}", hint='settings="checkpoint" or "optimizer"')
    if len(old) != len(new):
        raise ModelError(
            f"the old optimizer has {len(old)} groups of parameters, the new one {len(new)}: whose settings "
            "are whose can't be told",
            hint='keep those of the new one: settings="optimizer"',
        )
    return [
        {**there, **{key: _plain(value) for key, value in here.items() if _is_setting(key, value)}}
        for here, there in zip(old, new, strict=True)
    ]


def _is_setting(key: str, value: object) -> bool:
    return key not in _OF_THE_MACHINE and not isinstance(value, Placeholder)


def _plain(value: object) -> object:
    tensor = tensor_of(value)
    return value if tensor is None else tensor.clone()
