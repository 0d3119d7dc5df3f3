"""What matching gives back: pairs with their evidence, and what is left on either side."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Matching", "Pair"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of the checkpoint and the tensor of the model that it goes to.

    Attributes:
        source: The checkpoint's key, as the file spells it (before any rename rule).
        target: The model's key.
        why: The evidence, one line.
    """

    source: str
    target: str
    why: str


@dataclass(frozen=True, slots=True)
class Matching:
    """How two lists of tensors belong together.

    Attributes:
        how: The hypothesis that explains them, a short phrase such as `"prefix 'module.' removed"`.
        pairs: In the order of the targets. Shapes differ only where names agree, or where a stem or a
            head is the only one left; whether they can be adapted is the planner's question.
        unmatched_sources: In file order.
        unmatched_targets: In state-dict order.
        notes: What else a reader should know, one line each.
    """

    how: str
    pairs: tuple[Pair, ...]
    unmatched_sources: tuple[str, ...] = ()
    unmatched_targets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
