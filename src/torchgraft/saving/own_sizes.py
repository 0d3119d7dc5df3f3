"""A plan whose way back keeps the model's sizes where they are not the checkpoint's.

`Plan.restore` gives the checkpoint's shapes exactly, and so leaves out what only the model has: a head of
other classes, a stem's new channels. Here such a tensor goes back as it is, under the checkpoint's name and
with its dimensions in the checkpoint's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from torchgraft.adapting import (
    CopiedChannels,
    InputChannels,
    MergedRows,
    PatchKernel,
    Permuted,
    Positions,
    RelativePositions,
    Rows,
    SinePositions,
    TextPositions,
    Vocabulary,
)
from torchgraft.adapting.ops import Op
from torchgraft.errors import AdaptError
from torchgraft.planning import Plan, SourceEntry, TargetEntry

__all__ = ["with_own_sizes"]

_SIZES = (
    CopiedChannels, InputChannels, MergedRows, PatchKernel, Positions, RelativePositions, Rows, SinePositions,
    TextPositions, Vocabulary,
)  # fmt: skip
"""Ops that give a tensor another size, as opposed to those that only place its elements otherwise."""

Shape = tuple[int, ...]


def with_own_sizes(plan: Plan, model: Mapping[str, torch.Tensor]) -> tuple[Plan, dict[str, Shape]]:
    """The plan, and by the checkpoint's names the shapes of what has the model's size now.

    Args:
        plan: Of the model, or of what it was before its sizes were changed.
        model: Its state dict.
    """
    sources = {entry.name: entry for entry in plan.sources}
    resized: dict[str, Shape] = {}
    targets = []
    for entry in plan.targets:
        new = _own(entry, sources, model.get(entry.name))
        if new is not None and new.source is not None:
            targets.append(new)
            resized[new.source] = new.source_shape or new.shape
        else:
            targets.append(entry)
    changed = [
        replace(entry, shape=resized[entry.name], status="used", why="of the model's size")
        if entry.name in resized
        else entry
        for entry in plan.sources
    ]
    return replace(plan, targets=tuple(targets), sources=tuple(changed)), resized


def _own(
    entry: TargetEntry, sources: Mapping[str, SourceEntry], value: torch.Tensor | None
) -> TargetEntry | None:
    """The entry of a tensor that keeps its size; `None` for one whose size is the checkpoint's."""
    stored = sources.get(entry.source) if entry.source is not None else None
    if stored is None or value is None or entry.joined or stored.scaling is not None:
        return None
    shape = tuple(value.shape)
    changed = len(shape) == len(entry.shape) and shape != entry.shape  # since the plan was made
    if entry.status == "fresh":
        ops = _turn(stored.shape, shape)
    elif changed or _resizes(entry, stored.shape):
        ops = tuple(op for op in entry.ops if not isinstance(op, _SIZES))
    else:
        return None
    there = None if ops is None else _before(ops, shape)
    if there is None or ops is None:
        return None
    return replace(entry, shape=shape, status="adapted" if ops else "loaded", ops=ops, source_shape=there)


def _resizes(entry: TargetEntry, shape: Shape) -> bool:
    for op in entry.ops:
        after = op.shape(shape)
        if isinstance(op, _SIZES) and after != shape:
            return True
        shape = after
    return False


def _turn(stored: Shape, shape: Shape) -> tuple[Op, ...] | None:
    """How a tensor that does not fit lies in the checkpoint: as here if one size alone differs, or turned."""
    if len(stored) != len(shape):
        return None
    if sum(have != want for have, want in zip(stored, shape, strict=True)) == 1:
        return ()
    return (Permuted((1, 0)),) if len(shape) == 2 and stored[0] == shape[1] else None


def _before(ops: tuple[Op, ...], shape: Shape) -> Shape | None:
    """The shape of what the ops made a tensor of this shape of; `None` if they can't be undone."""
    value = torch.empty(shape, device="meta")
    try:
        for op in reversed(ops):
            value = op.invert(value)
    except (AdaptError, RuntimeError):
        return None
    return tuple(value.shape)
