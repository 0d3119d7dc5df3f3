"""What a model's tensors say about those of the checkpoint that they were made of: steps undone, merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from torchgraft.adapting import Block, InputChannels, Rows, Vocabulary
from torchgraft.adapting.ops import Op, Shape
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AdaptError, ModelError
from torchgraft.planning.entries import TargetEntry
from torchgraft.planning.plans import Plan
from torchgraft.planning.quantised import as_planned

__all__ = ["Found", "Gathering", "Lost"]

_PARTIAL = (Block, Rows, Vocabulary)
"""Ops that take only some elements of a tensor."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a tensor of the checkpoint: its elements where `known` (`None`: everywhere)."""

    tensor: torch.Tensor
    known: torch.Tensor | None
    givers: tuple[str, ...]


@dataclass(slots=True)
class Lost:
    """What can't be had back: why, by the checkpoint's names; what is less exact than it was."""

    undone: dict[str, str] = field(default_factory=dict)
    rounded: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class Gathering:
    """Collects, tensor after tensor of the model, what is known of those of the checkpoint."""

    def __init__(self, plan: Plan, base: Checkpoint | None) -> None:
        self._stored = {entry.name: entry for entry in plan.sources}
        self._base = base
        self._read = as_planned(plan.sources, base) if base is not None else None
        self.found: dict[str, Found] = {}

    def take(self, entry: TargetEntry, value: torch.Tensor, lost: Lost) -> None:
        """Add what a tensor of the model says about those of the checkpoint."""
        if not entry.joined:
            assert entry.source is not None
            self._add(entry, entry.source, entry.ops, value, lost)
            return
        sizes = [part.shape[0] for part in entry.joined]
        fused = (sum(sizes), *entry.joined[0].shape[1:])
        pieces = torch.split(_undone(entry.ops, value, fused), sizes)
        for part, piece in zip(entry.joined, pieces, strict=True):
            if part.source is not None:
                self._add(entry, part.source, part.ops, piece, lost)
            elif bool(piece.count_nonzero()):
                lost.remarks.append(
                    f"{entry.name}: {sizes[0]} of its elements have no place in the checkpoint and are left "
                    "out; they were zero and have been trained since"
                )

    def complete(self, source: str) -> bool:
        """Whether all elements of it are known."""
        return source in self.found and self.found[source].known is None

    def _add(
        self, entry: TargetEntry, source: str, ops: Sequence[Op], value: torch.Tensor, lost: Lost
    ) -> None:
        stored = self._stored[source]
        if stored.scaling is not None:
            self._add_quantised(entry, source, ops, value, lost)
            return
        dtype = getattr(torch, stored.dtype)
        narrower = torch.promote_types(dtype, value.dtype) != value.dtype
        original = None
        if narrower or any(isinstance(op, InputChannels) for op in ops):  # such steps round
            original = self._unchanged(source, ops, value)
        if original is not None:
            tensor = original
        else:
            try:
                tensor = _undone(ops, value, stored.shape).to(dtype)
            except AdaptError as error:
                lost.undone[source] = error.what
                return
            if narrower:
                lost.rounded.setdefault((str(value.dtype).removeprefix("torch."), stored.dtype), []).append(
                    source
                )
        fresh_rows = sum(op.rows.count(None) for op in ops if isinstance(op, Rows))
        if fresh_rows:
            lost.remarks.append(
                f"{entry.name}: {fresh_rows} of its rows are of classes that the checkpoint does not have, "
                "and are left out"
            )
        new = sum(op.target - op.carried for op in ops if isinstance(op, Vocabulary))
        if new:
            lost.remarks.append(
                f"{entry.name}: {new} of its rows are of tokens that the checkpoint does not have, and are "
                "left out"
            )
        given = Found(tensor.detach(), _known(ops, stored.shape, value.device), (entry.name,))
        before = self.found.get(source)
        self.found[source] = given if before is None else _together(source, before, given)

    def _add_quantised(
        self, entry: TargetEntry, source: str, ops: Sequence[Op], value: torch.Tensor, lost: Lost
    ) -> None:
        """The stored numbers, if nothing has changed what was made of them: quantising again would round."""
        dtype = self._stored[source].dtype
        original = self._unchanged(source, ops, value) if source not in lost.undone else None
        if original is not None:
            self.found.setdefault(source, Found(original.detach(), None, (entry.name,)))
            return
        lost.undone[source] = (
            f"it is {dtype} in the checkpoint, and what the model holds is not quantised again"
            if self._base is not None
            else f"it is {dtype} in the checkpoint, which has to be given to see whether it has changed"
        )
        self.found.pop(source, None)

    def _unchanged(self, source: str, ops: Sequence[Op], value: torch.Tensor) -> torch.Tensor | None:
        """The checkpoint's own tensor, if the plan's steps make of it exactly what the model holds."""
        if self._base is None or self._read is None or any(op.needs_base for op in ops):
            return None
        if source not in self._base:
            return None
        original, made = self._base[source].view(), self._read[source].view()
        for op in ops:
            made = op.apply(made)
        return original.to(value.device) if _same_bits(made.to(value), value) else None


def _undone(ops: Sequence[Op], value: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The tensor of `shape` that the ops made `value` of; zero where it is not known."""
    for op, before in _backwards(ops, shape):
        value = op.invert(value, value.new_zeros(before) if isinstance(op, _PARTIAL) else None)
    return value


def _known(ops: Sequence[Op], shape: Shape, device: torch.device) -> torch.Tensor | None:
    """Which elements of a tensor of `shape` can be told from what the ops made of it; `None` for all."""
    if not any(isinstance(op, _PARTIAL) for op in ops):
        return None
    after = shape
    for op in ops:
        after = op.shape(after)
    known = _undone(ops, torch.ones(after, dtype=torch.bool, device=device), shape)
    return None if bool(known.all()) else known


def _backwards(ops: Sequence[Op], shape: Shape) -> list[tuple[Op, Shape]]:
    """The ops, last first, each with the shape of what it was applied to."""
    steps = []
    for op in ops:
        steps.append((op, shape))
        shape = op.shape(shape)
    return steps[::-1]


def _together(source: str, one: Found, other: Found) -> Found:
    """What two tensors of the model say about one of the checkpoint."""
    a, b = one.tensor, other.tensor.to(one.tensor.device)
    ours = torch.ones_like(a, dtype=torch.bool) if one.known is None else one.known
    theirs = torch.ones_like(ours) if other.known is None else other.known.to(ours.device)
    both = ours & theirs
    givers = (*one.givers, *other.givers)
    if not _same_bits(a[both], b[both]):
        raise ModelError(
            f"{' and '.join(givers)} hold different values, and the checkpoint has one tensor for them",
            where=source,
            hint="leave all but one of them out of the weights that are to be restored",
        )
    known = ours | theirs
    return Found(torch.where(ours, a, b), None if bool(known.all()) else known, givers)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of one dtype hold the same; NaN is like itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    a, b = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(a, b)
