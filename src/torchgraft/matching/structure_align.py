"""Pairs two lists of modules of one shape as far as the evidence goes, and no further."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

from torchgraft.matching.structure_flow import Run
from torchgraft.matching.structure_link import Link
from torchgraft.matching.structure_names import (
    Vocabulary,
    by_words,
    contradicts,
    likeness,
    relative_names,
)
from torchgraft.matching.structure_order import Order

__all__ = ["EVIDENCE", "NORM_EVIDENCE", "Evidence", "align", "first_in_file", "untold"]

Evidence: TypeAlias = Literal["numbers", "vocabulary", "sizes", "words", "flow", "order"]
EVIDENCE: tuple[Evidence, ...] = ("numbers", "vocabulary", "sizes", "words", "flow")
"""What may tell siblings apart, from the surest to the least sure, a run of the model (`"flow"`) last. After
them comes the order in the file, where the user trusts it."""

NORM_EVIDENCE: tuple[Evidence, ...] = ("numbers", "flow", "vocabulary", "sizes", "words")
"""The same for norms: `bn1` may follow the first layer of one block and the second of another, which only a
run shows."""


def align(
    ours: Order, theirs: Order, steps: Sequence[Evidence], known: Vocabulary, why: str, run: Run | None = None
) -> Iterator[Link]:
    """Give the pairs that numbers, and then other evidence, make unique.

    Args:
        ours: Modules of the checkpoint, ordered by the numbers in their names.
        theirs: As many of the model.
        steps: The evidence for siblings that numbers do not order, in the order in which it is asked.
        known: What the pairs so far say about names.
        why: What is known of the two lists already, for the pairs' own `why`.
        run: What a run of the model says, where the steps go as far.
    """
    if ours.size != theirs.size:
        return
    if ours.kind == theirs.kind == "one":
        yield Link(ours.modules[0], theirs.modules[0], why)
        return
    if ours.kind == theirs.kind == "series":
        pieces = list(_pieces(ours, theirs))
        if len(pieces) > 1:
            if contradicts(*(relative_names([piece[side].modules for piece in pieces]) for side in (0, 1))):
                return  # numbers say one thing and words another
            for place, (mine, yours) in enumerate(pieces, 1):
                yield from align(mine, yours, steps, known, f"number {place} of {len(pieces)} {why}", run)
            return
    told = list(_siblings(ours, theirs, steps, known, run))
    if not told and "order" in steps:
        told = list(_in_file_order(ours, theirs))
    for mine, yours, reason in told:
        yield from align(mine, yours, steps, known, f"{why}, {reason}", run)


def untold(ours: Order, theirs: Order) -> tuple[Order, Order]:
    """The first siblings in two orders that numbers do not tell apart."""
    if ours.kind == theirs.kind == "series":
        pieces = list(_pieces(ours, theirs))
        if len(pieces) > 1:
            return next((untold(a, b) for a, b in pieces if a.size > 1), (ours, theirs))
    return ours, theirs


def _pieces(ours: Order, theirs: Order) -> Iterator[tuple[Order, Order]]:
    """Cut two series wherever both have a boundary after equally many modules."""
    ends = [list(accumulate(part.size for part in side.parts)) for side in (ours, theirs)]
    cuts = sorted(set(ends[0]) & set(ends[1]))
    start = [0, 0]
    for cut in cuts:
        stop = [end.index(cut) + 1 for end in ends]
        mine, yours = (
            _series(side.parts[a:b]) for side, a, b in zip((ours, theirs), start, stop, strict=True)
        )
        yield mine, yours
        start = stop


def _series(parts: Sequence[Order]) -> Order:
    if len(parts) == 1:
        return parts[0]
    return Order("series", tuple(parts), tuple(module for part in parts for module in part.modules))


def _siblings(
    ours: Order, theirs: Order, steps: Sequence[Evidence], known: Vocabulary, run: Run | None
) -> Iterator[tuple[Order, Order, str]]:
    mine, yours = ours.parts, theirs.parts
    names = relative_names([part.modules for part in mine]), relative_names([part.modules for part in yours])
    words = dict(by_words(*names))
    if len(set(names[0])) == len(mine) and set(names[0]) == set(names[1]):
        for name, part in zip(names[0], mine, strict=True):
            yield part, yours[names[1].index(name)], "same name"
        return

    def told(step: Evidence) -> Iterator[tuple[int, int, str]]:
        if step == "vocabulary":
            yield from ((i, j, "named as elsewhere in the model") for i, j in known.pairs(*names))
        elif step == "sizes" and ours.kind == theirs.kind == "parallel":
            yield from ((i, j, "the only group of its size") for i, j in _by_size(mine, yours))
        elif step == "words":
            for i, j in words.items():
                alike, rival = likeness(*names, i, j)
                said = f"{'.'.join(names[0][i])} ~ {'.'.join(names[1][j])}"
                yield i, j, f"{said} (alike {alike:.2f}, the next {rival:.2f})"
        elif step == "flow" and run is not None:
            yield from run.pairs(ours, theirs)

    found = next((pairs for step in steps if (pairs := list(told(step)))), [])
    for i, j, reason in found:
        if words.get(i, j) != j or any(b == j and a != i for a, b in words.items()):
            continue  # two kinds of evidence contradict each other
        yield mine[i], yours[j], reason


def _in_file_order(ours: Order, theirs: Order) -> Iterator[tuple[Order, Order, str]]:
    mine, yours = (sorted(side.parts, key=first_in_file) for side in (ours, theirs))
    if [part.size for part in mine] != [part.size for part in yours]:
        mine, yours = (
            [Order("one", (), (module,)) for module in sorted(side.modules, key=lambda module: module.order)]
            for side in (ours, theirs)
        )
    for one, other in zip(mine, yours, strict=True):
        yield one, other, "the same place in file order"


def first_in_file(part: Order) -> int:
    """Where its first module stands in the file."""
    return min(module.order for module in part.modules)


def _by_size(ours: Sequence[Order], theirs: Sequence[Order]) -> list[tuple[int, int]]:
    sizes = [part.size for part in ours], [part.size for part in theirs]
    counts = [Counter(side) for side in sizes]
    if counts[0] != counts[1]:
        return []
    return [(i, sizes[1].index(size)) for i, size in enumerate(sizes[0]) if counts[0][size] == 1]
