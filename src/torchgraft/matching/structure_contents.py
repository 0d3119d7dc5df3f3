"""What kind of container a module is in: told by the layers it holds, whatever it is called.

Inception's `branch7x7_1` to `_3` are three layers and `branch7x7dbl_1` to `_5` are five; another library's
`branches.2` and `branches.3` hold three and five. The layers that stand first in both have the same shape,
and only what stands beside them tells which is which.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from torchgraft.matching.structure_modules import Module

__all__ = ["Contents", "contents", "refined"]

Contents = Mapping[int, frozenset[Hashable]]
"""By a module's `id`: the contents of those of its containers that occur equally often on both sides."""

_Path = tuple[str, ...]
_Place = tuple[int, int]

_NUMBERED = re.compile(r"(.*?)\d+[a-f]?", re.DOTALL)


def contents(ours: Sequence[Module], theirs: Sequence[Module]) -> tuple[Contents, Contents]:
    """What the containers around each module hold, as far as it can be compared."""
    sides = _kinds(ours), _kinds(theirs)
    counts = [Counter(dict(of.values()).values()) for of, _ in sides]
    shared = {kind for kind, count in counts[0].items() if counts[1][kind] == count}
    mine, yours = (
        {
            module: frozenset(kind for container in around if (kind := of[container][1]) in shared)
            for module, around in containers.items()
        }
        for of, containers in sides
    )
    return mine, yours


def refined(
    ours: Sequence[Module], theirs: Sequence[Module], known: tuple[Contents, Contents]
) -> list[tuple[list[Module], list[Module]]]:
    """Two lists of one shape split by the containers they are in; whole where parts would not be equal."""
    groups: dict[frozenset[Hashable], tuple[list[Module], list[Module]]] = defaultdict(lambda: ([], []))
    for side, modules in enumerate((ours, theirs)):
        for module in modules:
            groups[known[side][id(module)]][side].append(module)
    if all(len(mine) == len(yours) for mine, yours in groups.values()):
        return list(groups.values())
    return [(list(ours), list(theirs))]


def _kinds(modules: Sequence[Module]) -> tuple[dict[_Path, tuple[_Place, Hashable]], dict[int, list[_Path]]]:
    """What each container holds, and where; and the containers of each module."""
    held: dict[_Path, Counter[Hashable]] = defaultdict(Counter)
    first: dict[_Path, int] = {}
    containers: dict[int, list[_Path]] = {}
    for module in modules:
        around = containers[id(module)] = list(_containers(module.path))
        signature = module.signature(squeezed=True)
        for container in around:
            held[container][signature] += 1
            first.setdefault(container, module.order)
    # nested containers that hold the same modules are one: they begin at the same and hold equally many
    kinds: dict[_Path, tuple[_Place, Hashable]] = {
        path: ((first[path], counter.total()), frozenset(counter.items())) for path, counter in held.items()
    }
    return kinds, containers


def _containers(path: tuple[str, ...]) -> Sequence[_Path]:
    """The modules around one, and the runs of numbered siblings (`branch_1`, `branch_2`) it belongs to."""
    found = []
    for depth, component in enumerate(path):
        if depth:
            found.append(path[:depth])
        numbered = _NUMBERED.fullmatch(component)
        if numbered is not None and numbered[1]:
            found.append((*path[:depth], f"{numbered[1]}#"))
    return found
