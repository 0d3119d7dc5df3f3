"""What a run of the model says about siblings that names and shapes leave tied.

Two kinds of evidence. Where the checkpoint numbers its siblings and the model gives them words, the order of
use is the order of the numbers. And where the checkpoint's names say what a layer belongs to (`attn_norm`
beside `attn`, `attention.output.LayerNorm`), its partner is the one that the layers of that container feed,
or that feeds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations

from torchgraft.matching.flow import Flow
from torchgraft.matching.structure_containers import Around
from torchgraft.matching.structure_modules import Module
from torchgraft.matching.structure_names import distinct_words, relative_names, same_word, words_of
from torchgraft.matching.structure_order import Order

__all__ = ["Run"]

_MOST = 6
"""Siblings whose arrangements are all tried."""

_Path = tuple[str, ...]


class Run:
    """The model's flow, seen from the pairs that are settled.

    Args:
        flow: Of the model.
        settled: Pairs of layers (source, target); each has the same number as in `around`.
        around: Which of them each container of the checkpoint holds.
    """

    def __init__(self, flow: Flow, settled: Sequence[tuple[Module, Module]], around: Around) -> None:
        self._order = flow.order
        self._around = around
        self._children: dict[_Path, list[_Path]] = defaultdict(list)
        for container in around:
            if container:
                self._children[container[:-1]].append(container)
        number = {
            leaf.origin: place for place, (_, target) in enumerate(settled) for leaf in target.leaves.values()
        }
        self._near: dict[str, set[int]] = defaultdict(set)
        for name, feeding in flow.feeds.items():
            for other in feeding:
                if other in number:
                    self._near[name].add(number[other])
                if name in number:
                    self._near[other].add(number[name])

    def pairs(self, ours: Order, theirs: Order) -> Iterator[tuple[int, int, str]]:
        """Indices of the parts of two orders that belong together, and why."""
        if len(ours.parts) != len(theirs.parts):
            return
        if ours.kind == "series" and theirs.kind == "parallel":
            used = [self._used(part) for part in theirs.parts]
            if None not in used and len(set(used)) == len(used):
                turn = sorted(range(len(used)), key=lambda j: used[j] or 0)
                yield from ((i, j, "used in the order of its number") for i, j in enumerate(turn))
                return
        yield from self._by_neighbours(ours.parts, theirs.parts)

    def _used(self, part: Order) -> int | None:
        orders = [
            self._order[leaf.origin]
            for module in part.modules
            for leaf in module.leaves.values()
            if leaf.origin in self._order
        ]
        return min(orders, default=None)

    def _by_neighbours(
        self, ours: Sequence[Order], theirs: Sequence[Order]
    ) -> Iterator[tuple[int, int, str]]:
        if len(ours) > _MOST:
            return
        kin = self._kin(ours)
        near = [
            set().union(
                *(self._near[leaf.origin] for module in part.modules for leaf in module.leaves.values())
            )
            for part in theirs
        ]
        table = [[len(mine & yours) for yours in near] for mine in kin]
        best, always = 0, set[tuple[int, int]]()
        for turn in permutations(range(len(theirs))):
            pairs = set(enumerate(turn))
            score = sum(table[i][j] for i, j in pairs)
            if score > best:
                best, always = score, pairs
            elif score == best:
                always &= pairs
        yield from ((i, j, "beside the same layers when it runs") for i, j in sorted(always) if best)

    def _kin(self, parts: Sequence[Order]) -> list[set[int]]:
        """The settled layers that each part belongs with, by its own name."""
        groups = [part.modules for part in parts]
        names = relative_names(groups)
        above = groups[0][0].path[: len(_shared([module.path for group in groups for module in group]))]
        found = []
        for name, words in zip(names, distinct_words(names), strict=True):
            kin: set[int] = set()
            for depth in range(len(name) - 1, 0, -1):
                if kin := set(self._around.get((*above, *name[:depth]), ())):
                    break
            for child in self._children[above]:
                if child[-1:] != name[:1] and any(
                    same_word(word, other) for word in words for other in words_of(child[-1])
                ):
                    kin |= self._around[child]
            found.append(kin)
        return found


def _shared(paths: Sequence[_Path]) -> _Path:
    first, last = min(paths), max(paths)
    size = next(
        (k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:size]
