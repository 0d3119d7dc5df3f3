"""What an optimizer kept, by the names of the parameters: its state dict knows them by number only."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torchgraft.checkpoint import Checkpoint, find_optimizers
from torchgraft.errors import CheckpointError, ModelError
from torchgraft.formats import read_container
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.tensors import TensorRef

__all__ = ["OldOptimizer", "find_state", "tensor_of"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_HINT = (
    "say which they are, in the order in which they were given to the optimizer: "
    "param_names=[name for name, _ in old_model.named_parameters()]"
)


@dataclass(frozen=True, slots=True)
class OldOptimizer:
    """The state of an optimizer.

    Attributes:
        states: What it kept of each parameter that it has stepped, by the checkpoint's name of it.
        groups: Its groups with their settings.
        how: How it is known which parameter is which, in words.
        first: For each name in the checkpoint the first one of the same tensor: of tied ones an optimizer has
            one.
    """

    states: Mapping[str, Mapping[str, Any]]
    groups: Sequence[Mapping[str, Any]]
    how: str
    first: Mapping[str, str]

    @classmethod
    def read(
        cls,
        state: Mapping[str, Any],
        checkpoint: Checkpoint,
        targets: Iterable[TargetEntry],
        sources: Sequence[SourceEntry],
        param_names: Sequence[str] | None,
    ) -> OldOptimizer:
        """Name what a state dict holds.

        Raises:
            ModelError: It can't be told which parameter is which.
            CheckpointError: It is no state of an optimizer.
        """
        groups = state.get("param_groups")
        kept = state.get("state")
        if not isinstance(groups, (list, tuple)) or not isinstance(kept, Mapping) or not groups:
            raise CheckpointError(
                "is not what an optimizer's state_dict() gives: it needs 'state' and 'param_groups'",
                where="the optimizer's state",
            )
        numbers = [number for group in groups for number in group["params"]]
        names = _told(groups, numbers, param_names)
        first = _first_names(checkpoint)
        how = "by name"
        if names is None:
            how = "in the checkpoint's order, which all shapes agree with"
            names = _inferred(groups, numbers, kept, first, targets, sources)
        stored = {entry.name: entry for entry in sources}
        keys = _keys(names, stored)
        states = {}
        for number, key in zip(numbers, keys, strict=True):
            if kept.get(number) and key in stored:
                _check_shapes(key, kept[number], stored[key])
                states[first.get(key, key)] = kept[number]
        return cls(states, groups, how, first)

    def of(self, key: str) -> Mapping[str, Any] | None:
        """What it kept of a tensor of the checkpoint, under whichever of its names."""
        return self.states.get(self.first.get(key, key))


def find_state(
    given: Mapping[str, Any] | str | os.PathLike[str] | None, checkpoint: Checkpoint
) -> Mapping[str, Any]:
    """The state dict: as given, in a file, or in the checkpoint's own file.

    Raises:
        CheckpointError: There is none, or several.
    """
    if isinstance(given, Mapping):
        return given
    if given is None:
        found, where = checkpoint.optimizers, checkpoint.name
    elif isinstance(given, str) and given in checkpoint.optimizers:
        return checkpoint.optimizers[given]
    else:
        found, where = find_optimizers(read_container(given).tree), os.fspath(given)
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise CheckpointError(
            "holds no state of an optimizer",
            where=where,
            hint="give it: plan.optimizer_state(optimizer, old_optimizer.state_dict()), or the file it is in",
        )
    raise CheckpointError(
        f"holds the states of {len(found)} optimizers",
        where=where,
        hint=f"say which one is meant: plan.optimizer_state(optimizer, {next(iter(found))!r}); "
        f"there are {', '.join(found)}",
    )


def tensor_of(value: object) -> torch.Tensor | None:
    """A tensor of a state, read if it is a lazy one; `None` for anything else."""
    if isinstance(value, TensorRef):
        return value.view()
    return value if isinstance(value, torch.Tensor) else None


def _told(
    groups: Sequence[Mapping[str, Any]], numbers: Sequence[object], given: Sequence[str] | None
) -> list[str] | None:
    if given is not None:
        if len(given) != len(numbers):
            raise ModelError(
                f"the optimizer's state has {len(numbers)} parameters, param_names has {len(given)}",
                hint=_HINT,
            )
        return list(given)
    if all(isinstance(number, str) for number in numbers):
        return [str(number) for number in numbers]
    told = [group.get("param_names") for group in groups]
    if all(isinstance(names, (list, tuple)) for names in told):
        names = [str(name) for group in told for name in group or ()]
        return names if len(names) == len(numbers) else None
    return None


def _inferred(
    groups: Sequence[Mapping[str, Any]],
    numbers: Sequence[object],
    kept: Mapping[Any, Mapping[str, Any]],
    first: Mapping[str, str],
    targets: Iterable[TargetEntry],
    sources: Sequence[SourceEntry],
) -> list[str]:
    """The checkpoint's parameters in its order, which is `parameters()`'s, if all shapes agree with that."""
    if len(groups) > 1:
        raise ModelError(
            f"the optimizer's state has its parameters in {len(groups)} groups, without names, so their "
            "order can't be known",
            hint=_HINT,
        )
    buffers = {key for entry in targets if entry.buffer for key in entry.sources}
    names = [
        entry.name
        for entry in sources
        if entry.name not in buffers
        and first.get(entry.name, entry.name) == entry.name
        and entry.name.rpartition(".")[2] not in _STATISTICS
        and entry.dtype.startswith(("float", "bfloat", "complex"))
    ]
    if len(names) != len(numbers):
        raise ModelError(
            f"the optimizer's state has {len(numbers)} parameters, the checkpoint {len(names)}, so it can't "
            "be told which is which",
            hint=_HINT,
        )
    stored = {entry.name: entry for entry in sources}
    for number, name in zip(numbers, names, strict=True):
        shapes = {shape for value in (kept.get(number) or {}).values() if (shape := _shape(value))}
        if shapes and stored[name].shape not in shapes:
            raise ModelError(
                f"in the checkpoint's order, parameter {number} has shape {list(stored[name].shape)}, the "
                f"optimizer keeps {[list(shape) for shape in sorted(shapes)]} for it",
                where=name,
                hint=_HINT,
            )
    return names


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, (TensorRef, torch.Tensor)) else ()


def _keys(names: Sequence[str], stored: Mapping[str, object]) -> list[str]:
    """The checkpoint's names: as they are, or with a prefix more or less, such as `module.`."""
    if any(name in stored for name in names):
        return list(names)
    first = names[0] if names else ""
    for key in stored:
        if key.endswith(f".{first}"):
            longer = [key.removesuffix(first) + name for name in names]
            if all(name in stored for name in longer):
                return longer
        if first.endswith(f".{key}"):
            prefix = first.removesuffix(key)
            shorter = [name.removeprefix(prefix) for name in names]
            if all(name in stored for name in shorter):
                return shorter
    raise ModelError(
        f"none of the optimizer's parameters ({', '.join(names[:3])}, …) is in the checkpoint",
        hint="param_names are the checkpoint's names",
    )


def _first_names(checkpoint: Checkpoint) -> dict[str, str]:
    first: dict[str, str] = {}
    return {
        name: first.setdefault(ref.alias, name) if ref.alias is not None else name
        for name, ref in checkpoint.items()
    }


def _check_shapes(key: str, kept: Mapping[str, Any], stored: SourceEntry) -> None:
    for name, value in kept.items():
        shape = _shape(value)
        floating = str(getattr(value, "dtype", "float")).removeprefix("torch.")
        number = math.prod(shape) == 1
        whole = not floating.startswith(("float", "bfloat", "complex"))
        if isinstance(value, (list, dict)) or (not number and (whole or shape != stored.shape)):
            what = f"{floating} {list(shape)}" if shape else type(value).__name__
            raise ModelError(
                f"the optimizer keeps {name!r}, {what}, for a parameter of shape {list(stored.shape)}: only "
                "floating-point tensors of the parameter's own shape can be carried along, as Adam's and "
                "SGD's are",
                where=key,
                hint="if the names are right, start this optimizer anew",
            )
