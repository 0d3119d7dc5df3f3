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
from torchgraft.planning.checking import check_checkpoint, check_device, check_gate, check_model, check_places
from torchgraft.planning.entries import TargetEntry
from torchgraft.planning.local_reading import LocalRead
from torchgraft.planning.own_memory import OwnMemory
from torchgraft.planning.plans import Plan
from torchgraft.planning.quantised import as_planned
from torchgraft.planning.sharded import Shard, shards_of
from torchgraft.planning.targets import Target, still_targets, targets_of, tensors_of

__all__ = ["Binding", "GraftReport", "apply_plan"]

_PIECE = 4 << 20
"""Bytes in float32 that are dequantised at a time."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The model and the weights that a plan was made for, and the model's tensors then."""

    model: nn.Module
    checkpoint: Checkpoint
    targets: Mapping[str, Target] | None = None


@dataclass(frozen=True)
class GraftReport:
    """What was done: the plan that was applied, the model that now holds the weights, the time it took."""

    plan: Plan
    model: nn.Module
    seconds: float

    def __str__(self) -> str:
        return f"{self.plan.summary} in {self.seconds:.2f} s"


def apply_plan(
    plan: Plan, device: torch.device | str | None = None, *, for_training: bool = False
) -> GraftReport:
    """Write the weights into the model that the plan is bound to.

    A parameter keeps its identity, device and dtype: optimizers and tied modules see the new values.
    On the meta device, where there is nothing to write to, it is replaced by one that holds them, of the
    dtype that it has there, on `device`. Then each tensor is made of what is in the file and nothing else
    is held: of a model on the meta device no second copy exists, in whatever dtype the file has it. What lies
    in the file as the model wants it is not copied at all, but mapped, or `for_training` read in one go.

    Of a tensor that is spread over processes (a `DTensor`) each reads and holds its own part. None waits for
    another, so that one that fails leaves the others to fail or succeed by themselves.

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
    check_device(device)
    model = plan.binding.model
    targets = plan.binding.targets
    if targets is None or not still_targets(targets, model):
        targets = targets_of(model)
    check_model(plan, targets)
    checkpoint = as_planned(plan.sources, plan.binding.checkpoint)
    check_checkpoint(plan, checkpoint, targets)
    shards = shards_of(targets)
    places = {key: shards[key].local if key in shards else target.tensor for key, target in targets.items()}
    check_places(plan, model, targets, places)
    if device is None and shards:
        device = next(iter(shards.values())).device
    written = {_memory(place) for place in places.values()} - {None}
    filled = [
        entry for entry in plan.targets if entry.status != "fresh" and targets[entry.name].tied_to is None
    ]
    reads = {
        entry.name: LocalRead.of(entry, box)
        for entry in filled
        if entry.name in shards and (box := shards[entry.name].box) is not None
    }
    whole = [entry for entry in filled if entry.name not in shards]
    parts = [span for read in reads.values() for span in read.spans(checkpoint)]
    with torch.no_grad(), OwnMemory(for_training=for_training) as own:
        with checkpoint.prefetch([key for entry in whole for key in entry.sources], parts):
            made: dict[int, torch.Tensor] = {}
            staged: list[tuple[torch.Tensor, torch.Tensor]] = []
            plainly = checkpoint.path is not None  # weights in memory may be a file's and trained since
            computed = {entry.name for entry in plan.sources if entry.scaling is not None}
            for entry in filled:
                target, place = targets[entry.name], places[entry.name]
                in_pieces = entry.source in computed and not (entry.ops or entry.joined)
                if entry.name in shards:
                    value = _part(entry, checkpoint, place, written, reads.get(entry.name), device, in_pieces)
                elif in_pieces:
                    value = _in_pieces(entry, checkpoint, place, device)
                else:
                    value = _stage(entry, checkpoint, place, written)
                if not place.is_meta:
                    staged.append((place, value))
                elif not (plainly and own.keeps(entry.name, value, place.dtype, device)):
                    owned = value.to(device or value.device, place.dtype, copy=not in_pieces).contiguous()
                    made[id(target.tensor)] = _held(target, owned, shards.get(entry.name))
                del value
            own.fill()
        for entry in filled:
            if entry.name in own:
                target = targets[entry.name]
                kept = own.tensor(entry.name)
                made[id(target.tensor)] = _held(target, kept, shards.get(entry.name))
        for tensor, value in staged:
            tensor.copy_(value)
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
    _check_shape(entry, tuple(value.shape), current)
    # weights of the model itself, under other names: one would be overwritten before it is read
    return value.clone() if _memory(value) in written else value


def _part(
    entry: TargetEntry,
    checkpoint: Checkpoint,
    place: torch.Tensor,
    written: set[object],
    read: LocalRead | None,
    device: torch.device | str | None,
    in_pieces: bool,
) -> torch.Tensor:
    """What this process holds of a tensor; of an empty part nothing is read."""
    if read is None:
        return torch.empty(place.shape, dtype=place.dtype, device=device)
    if in_pieces:
        value = read.in_pieces(checkpoint, place.dtype, device, _PIECE)
    else:
        value = read.value(checkpoint, place)
    _check_shape(entry, tuple(value.shape), place)
    return value.clone() if _memory(value) in written else value


def _in_pieces(
    entry: TargetEntry, checkpoint: Checkpoint, current: torch.Tensor, device: torch.device | str | None
) -> torch.Tensor:
    """A dequantised tensor in the model's dtype, a few rows at a time: in float32 it would be much larger."""
    assert entry.source is not None
    ref = checkpoint[entry.source]
    _check_shape(entry, ref.shape, current)
    made: torch.Tensor | None = None
    for index in ref.parts(_PIECE):
        piece = ref.view(index)
        if piece.is_meta:
            raise _without_values(entry.source)
        if made is None:
            made = torch.empty(ref.shape, dtype=current.dtype, device=device or piece.device)
        made[index] = piece
    assert made is not None, "a tensor has at least one part"
    return made


def _check_shape(entry: TargetEntry, shape: tuple[int, ...], current: torch.Tensor) -> None:
    if shape != current.shape:
        raise AdaptError(
            f"the plan's steps give shape {list(shape)}, the model wants {list(current.shape)}",
            where=entry.name,
            hint="make the plan again",
        )


def _rows(part: Part, checkpoint: Checkpoint, dtype: torch.dtype) -> torch.Tensor:
    if part.source is None:
        return torch.zeros(part.shape, dtype=dtype)
    return _taken(part.source, part.ops, checkpoint, None).to(dtype)


def _taken(
    source: str, ops: Sequence[Op], checkpoint: Checkpoint, current: torch.Tensor | None
) -> torch.Tensor:
    value = checkpoint[source].view()
    if value.is_meta:
        raise _without_values(source)
    if value.layout != torch.strided:  # a part of a sparse tensor is read as a dense one, within a limit
        value = checkpoint[source].view((...,))
    for op in ops:
        value = op.apply(value, current if op.needs_base else None)
    return value


def _without_values(source: str) -> CheckpointError:
    return CheckpointError(
        "is on the meta device: it has no values", where=source, hint="give weights that hold values"
    )


def _memory(tensor: torch.Tensor) -> object:
    """What tells the memory behind a tensor from other memory; `None` where there is none."""
    place = 0 if tensor.is_meta else tensor.untyped_storage().data_ptr()
    return (tensor.device, place) if place else None


def _held(target: Target, owned: torch.Tensor, shard: Shard | None) -> torch.Tensor:
    tensor = owned if shard is None else shard.with_part(owned)
    if target.is_buffer:
        return tensor
    return nn.Parameter(tensor, requires_grad=target.tensor.requires_grad)


def _replace(model: nn.Module, made: Mapping[int, torch.Tensor]) -> None:
    """Put what was made where the meta tensors were, in every module and attribute that shares them."""
    for module in model.modules():
        for attribute, tensor in list(tensors_of(module)):
            if id(tensor) in made:
                setattr(module, attribute, made[id(tensor)])
