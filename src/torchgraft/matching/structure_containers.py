"""Where a module lives: the settled layers in its nearest container tell which block it belongs to.

A norm in `layer1.0` can only go where the other layers of `layer1.0` went. Libraries nest differently,
so the settled layers around a module on one side need not be the same as around its partner, but one set
holds the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from torchgraft.matching.structure_modules import Module

__all__ = ["Around", "near", "split", "surroundings"]

Around: TypeAlias = Mapping[tuple[str, ...], frozenset[int]]
"""Container → numbers of the settled pairs in it."""

_Groups: TypeAlias = list[tuple[list[Module], list[Module]]]


def surroundings(settled: Sequence[tuple[Module, Module]]) -> tuple[Around, Around]:
    """Which settled pairs each container holds, on either side. Pairs have the same number on both."""
    sides: tuple[dict[tuple[str, ...], set[int]], ...] = (defaultdict(set), defaultdict(set))
    for number, pair in enumerate(settled):
        for side, module in zip(sides, pair, strict=True):
            for depth in range(len(module.path) + 1):
                side[module.path[:depth]].add(number)
    ours, theirs = ({path: frozenset(numbers) for path, numbers in side.items()} for side in sides)
    return ours, theirs


def split(ours: Sequence[Module], theirs: Sequence[Module], around: tuple[Around, Around]) -> _Groups | None:
    """Split two lists that belong together into parts that do, by what is settled around the modules.

    Returns:
        The parts, equally many modules on both sides of each; `None` if the containers contradict each other.
    """
    places = [near(module, around[0]) for module in ours], [near(module, around[1]) for module in theirs]
    fits: dict[tuple[frozenset[int], frozenset[int]], bool] = {}
    can: dict[int, set[int]] = {}
    for i, one in enumerate(places[0]):
        can[i] = set()
        for j, other in enumerate(places[1]):
            key = (one, other)
            if key not in fits:
                fits[key] = one <= other or other <= one
            if fits[key]:
                can[i].add(j)
    groups = _force(can, len(theirs))
    if groups is None:
        return None
    parts = [([ours[i]], [theirs[j]]) for i, j in groups]
    used = {i for i, _ in groups}, {j for _, j in groups}
    alike: dict[frozenset[int], tuple[list[Module], list[Module]]] = defaultdict(lambda: ([], []))
    for side, modules in enumerate((ours, theirs)):
        for index, module in enumerate(modules):
            if index not in used[side]:
                alike[places[side][index]][side].append(module)
    rest: tuple[list[Module], list[Module]] = ([], [])
    for mine, yours in alike.values():
        if len(mine) == len(yours):
            parts.append((mine, yours))
        else:
            rest[0].extend(mine)
            rest[1].extend(yours)
    return [*parts, rest] if rest[0] else parts


def near(module: Module, around: Around) -> frozenset[int]:
    """The settled pairs in the nearest container of `module` that holds any."""
    for depth in range(len(module.path), -1, -1):
        found = around.get(module.path[:depth])
        if found:
            return found
    return frozenset()


def _force(can: dict[int, set[int]], count: int) -> list[tuple[int, int]] | None:
    """Pairs that have no alternative; `None` if some module has no partner left."""
    cannot: dict[int, set[int]] = {j: set() for j in range(count)}
    for i, options in can.items():
        for j in options:
            cannot[j].add(i)
    forced: list[tuple[int, int]] = []
    left, right = can, cannot
    queue = [(0, i) for i in left] + [(1, j) for j in right]
    while queue:
        side, index = queue.pop()
        table, other = (left, right) if side == 0 else (right, left)
        if index not in table:
            continue
        if not table[index]:
            return None
        if len(table[index]) > 1:
            continue
        (partner,) = table[index]
        forced.append((index, partner) if side == 0 else (partner, index))
        del table[index]
        for rival in other.pop(partner):
            if rival in table:
                table[rival].discard(partner)
                queue.append((side, rival))
    return forced
