"""One line of a plan each: what happens to a tensor of the model, to a tensor of the checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torchgraft.adapting import effects
from torchgraft.adapting.ops import Op, Role
from torchgraft.checkpoint import Scaling
from torchgraft.matching import Part

__all__ = ["SourceEntry", "TargetEntry", "TargetStatus"]

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
        source: The key of its partner in the checkpoint, if it has one; a fresh one's does not fit, and is
            not used.
        source_shape: The shape there.
        source_dtype: The dtype there.
        ops: What is done on the way, in order.
        joined: Of a fused tensor (`qkv`), the parts it is made of, in order; then `source` is the first of
            them that is in the checkpoint, and `ops` come after.
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
    joined: tuple[Part, ...] = ()
    declared: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """All keys of the checkpoint that it is filled from; none for a fresh one."""
        if self.status == "fresh" or self.source is None:
            return ()
        if not self.joined:
            return (self.source,)
        return tuple(part.source for part in self.joined if part.source is not None)

    @property
    def effect(self) -> str:
        """What the modes of its steps mean for the model's outputs; empty where no step has modes."""
        return effects(self.ops)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """What happens to one tensor of the checkpoint: `used`, or `unused` and why.

    Attributes:
        name: Its key.
        shape: Its shape.
        dtype: Its dtype as it is stored.
        status: Whether the model takes it.
        why: Where it goes, or the reason why it goes nowhere; one line.
        scaling: Of a quantised weight that is dequantised on the way: how.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    status: Literal["used", "unused"]
    why: str
    scaling: Scaling | None = None
