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

__all__ = ["Around", "near", "same_places", "split", "surroundings"]

Around: TypeAlias = Mapping[tuple[str, ...], frozenset[int]]
"""Container → numbers of the settled pairs in it."""

_Place: TypeAlias = frozenset[int]

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
    groups = _force(places[0], places[1])
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


def same_places(ours: Sequence[Module], theirs: Sequence[Module], around: tuple[Around, Around]) -> _Groups:
    """Those of two lists of unequal length that stand among the same settled neighbours, equally many.

    The smallest containers come first. What is only in the whole model is in no place.
    """
    everything = around[0].get((), frozenset())
    members: dict[_Place, tuple[list[Module], list[Module]]] = defaultdict(lambda: ([], []))
    for side, modules in enumerate((ours, theirs)):
        for module in modules:
            for place in {around[side].get(module.path[:depth]) for depth in range(1, len(module.path) + 1)}:
                if place and place != everything:
                    members[place][side].append(module)
    groups: _Groups = []
    taken: set[int] = set()
    for place in sorted(members, key=len):
        mine, yours = ([m for m in side if id(m) not in taken] for side in members[place])
        if len(mine) == len(yours) > 0:
            groups.append((mine, yours))
            taken.update(id(module) for module in (*mine, *yours))
    return groups


def near(module: Module, around: Around) -> frozenset[int]:
    """The settled pairs in the nearest container of `module` that holds any."""
    for depth in range(len(module.path), -1, -1):
        found = around.get(module.path[:depth])
        if found:
            return found
    return frozenset()


def _force(ours: Sequence[_Place], theirs: Sequence[_Place]) -> list[tuple[int, int]] | None:
    """Pairs (indices) that have no alternative; `None` if some module has no partner left."""
    members: tuple[dict[_Place, list[int]], ...] = (defaultdict(list), defaultdict(list))
    for table, places in zip(members, (ours, theirs), strict=True):
        for index, place in enumerate(places):
            table[place].append(index)
    options = _options(members[0], members[1])
    forced: list[tuple[int, int]] = []
    queue = [(side, place) for side in (0, 1) for place in members[side]]
    while queue:
        side, place = queue.pop()
        mine, yours = members[side], members[1 - side]
        if place not in mine:
            continue
        few = [other for other in options[side][place] if other in yours]
        free = sum(len(yours[other]) for other in few)
        if free < len(mine[place]):
            return None
        if free > 1:
            continue
        one, other = mine.pop(place)[0], yours.pop(few[0])[0]
        forced.append((one, other) if side == 0 else (other, one))
        queue += [(side, rival) for rival in options[1 - side][few[0]]]
        queue += [(1 - side, rival) for rival in options[side][place]]
    return forced


def _options(
    ours: Mapping[_Place, object], theirs: Mapping[_Place, object]
) -> tuple[dict[_Place, list[_Place]], dict[_Place, list[_Place]]]:
    """For each place, either way, the places on the other side that hold it or that it holds."""
    holding: dict[int, list[_Place]] = defaultdict(list)
    starting: dict[int, list[_Place]] = defaultdict(list)
    for place in theirs:
        for number in place:
            holding[number].append(place)
        starting[min(place, default=-1)].append(place)
    forth: dict[_Place, list[_Place]] = {}
    back: dict[_Place, list[_Place]] = {place: [] for place in theirs}
    for place in ours:
        above = theirs if not place else holding[min(place)]  # what holds all of it holds its least number
        below = (other for number in (-1, *place) for other in starting.get(number, ()))
        fitting = {other for other in above if place <= other} | {other for other in below if other <= place}
        forth[place] = list(fitting)
        for other in fitting:
            back[other].append(place)
    return forth, back
