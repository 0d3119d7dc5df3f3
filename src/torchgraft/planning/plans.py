"""The plan: for every tensor of the model and of the checkpoint what happens, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from torchgraft.adapting.ops import Op, Role

if TYPE_CHECKING:
    from torchgraft.planning.applying import Binding, GraftReport

__all__ = ["Plan", "SourceEntry", "TargetEntry", "TargetStatus"]

TargetStatus: TypeAlias = Literal["loaded", "adapted", "fresh"]


@dataclass(frozen=True, slots=True)
class TargetEntry:
    """What happens to one tensor of the model.

    Attributes:
        name: Its key in the model's state dict.
        shape: Its shape there.
        dtype: Its dtype there, by PyTorch's name without `torch.`.
        buffer: Whether it is a buffer rather than a parameter.
        role: Whether it belongs to a stem, a head or the body.
        status: `loaded` as it is, `adapted` by `ops`, or `fresh`: it keeps the value it has.
        why: The evidence for the pairing, or the reason why it stays fresh; one line.
        source: The checkpoint's key, unless fresh.
        source_shape: The shape there.
        source_dtype: The dtype there.
        ops: What is done on the way, in order.
        declared: For a fresh one: whether somebody said that it may be, so that the gate lets it pass.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: bool
    role: Role
    status: TargetStatus
    why: str
    source: str | None = None
    source_shape: tuple[int, ...] | None = None
    source_dtype: str | None = None
    ops: tuple[Op, ...] = ()
    declared: bool = False

    @property
    def numel(self) -> int:
        """Number of elements."""
        n = 1
        for size in self.shape:
            n *= size
        return n


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """What happens to one tensor of the checkpoint: `used`, or `unused` and why."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    status: Literal["used", "unused"]
    why: str


@dataclass(frozen=True)
class Plan:
    """A dry run, frozen: print it, save it as JSON, apply it.

    Attributes:
        model: The model's class name.
        checkpoint: Where the weights come from, in words (usually the path).
        match: How names were paired, in words, such as `"prefix 'module.' removed"`.
        targets: One entry for each tensor of the model's state dict, in its order.
        sources: One entry for each tensor of the checkpoint, in its order.
        notes: What else a reader should know, one line each.
    """

    model: str
    checkpoint: str
    match: str
    targets: tuple[TargetEntry, ...]
    sources: tuple[SourceEntry, ...]
    notes: tuple[str, ...] = ()
    binding: Binding | None = field(default=None, repr=False, compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """How many tensors are `loaded`, `adapted`, `fresh`, `used` and `unused`."""
        found = Counter(entry.status for entry in self.targets)
        found.update(entry.status for entry in self.sources)
        return {status: found[status] for status in ("loaded", "adapted", "fresh", "used", "unused")}

    @property
    def coverage(self) -> float:
        """Share of the model's elements that come from the checkpoint, 0 to 1."""
        total = sum(entry.numel for entry in self.targets)
        covered = sum(entry.numel for entry in self.targets if entry.status != "fresh")
        return covered / total if total else 0.0

    @property
    def undeclared(self) -> tuple[TargetEntry, ...]:
        """The fresh tensors that nobody declared: what the gate refuses. Empty means it may be applied."""
        return tuple(entry for entry in self.targets if entry.status == "fresh" and not entry.declared)

    def __iter__(self) -> Iterator[TargetEntry]:
        return iter(self.targets)

    def apply(self) -> GraftReport:
        """Write the weights into the model, all or nothing.

        Raises:
            CoverageError: Undeclared tensors would stay fresh. The model is untouched.
            CheckpointError: A tensor can't be read. The model is untouched.
        """
        from torchgraft.planning.applying import apply_plan

        return apply_plan(self)
