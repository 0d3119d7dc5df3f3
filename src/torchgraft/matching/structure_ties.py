"""Layers that could be exchanged for each other: found, and refused with the hint that settles them."""

from __future__ import annotations

from collections.abc import Sequence

from torchgraft.matching.refusals import ambiguous, rename_hint
from torchgraft.matching.structure_align import first_in_file, untold
from torchgraft.matching.structure_containers import Around, same_places, split
from torchgraft.matching.structure_modules import Module, by_signature
from torchgraft.matching.structure_names import apart
from torchgraft.matching.structure_order import order_of

__all__ = ["refuse_ties", "tied_classes"]

_Classes = list[tuple[list[Module], list[Module]]]


def tied_classes(ours: Sequence[Module], theirs: Sequence[Module], around: tuple[Around, Around]) -> _Classes:
    """Open modules of one shape, equally many on both sides: a whole class, or what one block has of it."""
    ties = []
    seen: set[int] = set()
    for squeezed in (False, True):
        one = by_signature([m for m in ours if id(m) not in seen], squeezed=squeezed)
        other = by_signature([m for m in theirs if id(m) not in seen], squeezed=squeezed)
        for signature, mine in one.items():
            yours = other.get(signature, [])
            groups = [(mine, yours)] if len(mine) == len(yours) else same_places(mine, yours, around)
            ties += groups
            seen.update(id(module) for group in groups for side in group for module in side)
    return sorted(
        ties, key=lambda tie: not tie[0][0].is_matrix
    )  # norms follow from the layers they belong to


def refuse_ties(ties: _Classes, around: tuple[Around, Around]) -> None:
    """Raise for the first of these classes.

    Raises:
        AmbiguousMatchError: There is one.
    """
    if not ties:
        return
    parts = split(*ties[0], around) or [ties[0]]
    ours, theirs = next(((a, b) for a, b in parts if len(a) > 1), ties[0])
    mine, yours = (
        sorted(side.parts, key=first_in_file)[:2] for side in untold(order_of(ours), order_of(theirs))
    )
    names = _given([part.modules for part in mine]), _given([part.modules for part in yours])
    rules = {".".join(old): ".".join(new) for old, new in zip(*names, strict=True) if old and new}
    (one, two), (first, second) = ([part.modules[0].main.name for part in side] for side in (mine, yours))
    raise ambiguous(
        [(one, first), (two, second)],
        [(one, second), (two, first)],
        sum(len(module.leaves) for modules, _ in ties for module in modules),
        f"{rename_hint(rules)}, or the other way round; "
        'match="order" (--match order) trusts the order of the file',
    )


def _given(groups: Sequence[Sequence[Module]]) -> list[tuple[str, ...]]:
    """What tells groups of siblings apart, as the file spells it."""
    return apart([[module.given for module in group] for group in groups])
