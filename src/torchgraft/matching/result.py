"""What matching gives back: pairs with their evidence, and what is left on either side."""

from __future__ import annotations

from dataclasses import dataclass

from torchgraft.adapting.ops import Op, Shape

__all__ = ["Matching", "Pair", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a tensor of the model that is fused from several of the checkpoint.

    Attributes:
        source: The checkpoint's key; `None` for rows of zeros, which stand for a bias that is not there.
        ops: What turns that tensor into these rows.
        source_shape: Its shape.
        shape: The shape of these rows.
    """

    source: str | None
    ops: tuple[Op, ...]
    source_shape: Shape
    shape: Shape


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of the checkpoint and the tensor of the model that it goes to.

    Attributes:
        source: The checkpoint's key, as the file spells it (before any rename rule).
        target: The model's key.
        why: The evidence, one line.
        ops: What brings the source into the model's layout, before any change of size.
        joined: Of a fused tensor, all its parts in order; `source` is then the first one that is there, and
            `ops` come after.
    """

    source: str
    target: str
    why: str
    ops: tuple[Op, ...] = ()
    joined: tuple[Part, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All keys that it takes."""
        if not self.joined:
            return (self.source,)
        return tuple(part.source for part in self.joined if part.source is not None)


@dataclass(frozen=True, slots=True)
class Matching:
    """How two lists of tensors belong together.

    Attributes:
        how: The hypothesis that explains them, a short phrase such as `"prefix 'module.' removed"`.
        pairs: In the order of the targets. Shapes differ only where names agree, or where a stem or a
            head is the only one left; whether they can be adapted is the planner's question.
        unmatched_sources: In file order.
        unmatched_targets: In state-dict order.
        dropped: Those of blocks that the user did not choose, in file order.
        notes: What else a reader should know, one line each.
        doubts: What weak evidence alone decided (the place in a row, the last layer), one line each.
    """

    how: str
    pairs: tuple[Pair, ...]
    unmatched_sources: tuple[str, ...] = ()
    unmatched_targets: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
