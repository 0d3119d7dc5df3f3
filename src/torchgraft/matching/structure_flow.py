"""What a run of the model says about siblings that names and shapes leave tied.

Two kinds of evidence. Where the checkpoint numbers its siblings and the model gives them words, the order of
use is the order of the numbers. And where the checkpoint's names say what a layer belongs to (`attn_norm`
beside `attn`, `attention.output.LayerNorm`), its partner is the one that the layers of that container feed,
or that feeds them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise, permutations

from torchgraft.matching.flow import Flow, places
from torchgraft.matching.structure_containers import Around
from torchgraft.matching.structure_kin import Siblings
from torchgraft.matching.structure_link import Link
from torchgraft.matching.structure_modules import Module
from torchgraft.matching.structure_names import distinct_words, relative_names, same_word, words_of
from torchgraft.matching.structure_order import Order

__all__ = ["IN_TURN", "SIDE_BY_SIDE", "Run"]

IN_TURN = "used in the order of its number"

SIDE_BY_SIDE = f"{IN_TURN}, side by side"
"""Evidence that is not much: a gate may have the second number, and the model use it first."""

_SIDES = {"pre": "before", "before": "before", "post": "after", "after": "after"}

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
        self._flow = flow
        self._order = flow.order
        self._classes = flow.classes
        self._around = around
        self._children: dict[_Path, list[_Path]] = defaultdict(list)
        for container in around:
            if container:
                self._children[container[:-1]].append(container)
        self._number_of = {id(source): place for place, (source, _) in enumerate(settled)}
        self._names = [
            [leaf.origin for leaf in target.leaves.values() if leaf.origin in flow.order]
            for _, target in settled
        ]
        self._bits = [[flow.bits[name] for name in names] for names in self._names]

    def _bits_of(self, module: Module) -> list[int]:
        bits = self._flow.bits
        return [bits[leaf.origin] for leaf in module.leaves.values() if leaf.origin in bits]

    def followers(
        self, ours: Sequence[Module], theirs: Sequence[Module], siblings: Siblings
    ) -> Iterator[Link]:
        """Pairs of modules that alone stand beside the same settled layer: by name, and when it runs."""
        mine: dict[int, list[Module]] = defaultdict(list)
        for module in ours:
            owner = siblings.after(module)
            if owner is not None and id(owner) in self._number_of:
                mine[self._number_of[id(owner)]].append(module)
        holders: dict[int, list[Module]] = defaultdict(list)
        for module in theirs:
            for bit in self._bits_of(module):
                holders[bit].append(module)
        unpaired = sum(1 << bit for bit in holders)
        found = []
        for place, followers in mine.items():
            fed = 0
            for name in self._names[place]:
                fed |= self._flow.below[name]
            alone = _only(fed & unpaired, holders)
            if alone is not None and len(followers) == 1:
                found.append((followers[0], alone))
        claims = Counter(id(target) for _, target in found)
        yield from (Link(*pair, "follows the same layer") for pair in found if claims[id(pair[1])] == 1)

    def pairs(self, ours: Order, theirs: Order) -> Iterator[tuple[int, int, str]]:
        """Indices of the parts of two orders that belong together, and why."""
        if len(ours.parts) != len(theirs.parts):
            return
        if ours.kind == "series" and theirs.kind == "parallel":
            used = [self._used(part) for part in theirs.parts]
            if None not in used and len(set(used)) == len(used):
                turn = sorted(range(len(used)), key=lambda j: used[j] or 0)
                chained = self._chained([theirs.parts[j] for j in turn]) or _is_llamas(ours.parts)
                why = IN_TURN if chained else SIDE_BY_SIDE
                yield from ((i, j, why) for i, j in enumerate(turn))
                return
        yield from list(self._by_neighbours(ours.parts, theirs.parts)) or self._by_class(
            ours.parts, theirs.parts
        )

    def _chained(self, parts: Sequence[Order]) -> bool:
        """Whether each of them feeds the next, directly or not, so that there is no other order."""
        return all(self._feeds(*pair) for pair in pairwise(parts))

    def _feeds(self, part: Order, following: Order) -> bool:
        """Whether what one gives reaches the other, through what the model uses in between."""
        waiting, ends = self._held(part), self._held(following)
        first = bisect_left(self._turns, min(map(self._order.__getitem__, waiting), default=0))
        last = bisect_right(self._turns, max(map(self._order.__getitem__, ends), default=0))
        between = {self._flow.bits[name]: name for name in self._in_turn[first:last]}
        wanted = {self._flow.bits[name] for name in ends}
        while waiting:
            fed = self._flow.below[waiting.pop()]
            reached = [bit for bit in between if fed >> bit & 1]
            if wanted.intersection(reached):
                return True
            waiting += [between.pop(bit) for bit in reached]
        return False

    @cached_property
    def _in_turn(self) -> list[str]:
        return sorted(self._order, key=self._order.__getitem__)

    @cached_property
    def _turns(self) -> list[int]:
        return [self._order[name] for name in self._in_turn]

    def _held(self, part: Order) -> list[str]:
        return [
            leaf.origin
            for module in part.modules
            for leaf in module.leaves.values()
            if leaf.origin in self._order
        ]

    def _by_class(self, ours: Sequence[Order], theirs: Sequence[Order]) -> Iterator[tuple[int, int, str]]:
        """A word that one name and the class of only one module have: `branch_pool`, `AvgPool2d`."""
        names = relative_names([part.modules for part in ours])
        mine = [set(words) for words in distinct_words(names)]
        yours = [self._class_words(part.modules, theirs) for part in theirs]
        for i, words in enumerate(mine):
            found = [j for j, others in enumerate(yours) if _share(words, others)]
            if len(found) == 1 and sum(_share(other, yours[found[0]]) for other in mine) == 1:
                yield i, found[0], "by the class of its module"

    def _class_words(self, modules: Sequence[Module], siblings: Sequence[Order]) -> set[str]:
        above = len(_shared([module.path for part in siblings for module in part.modules]))
        path = _shared([module.path for module in modules])
        around = {".".join(path[:depth]) for depth in range(above + 1, len(path) + 1)}
        inside = f"{'.'.join(path[: above + 1])}."
        kinds = [kind for name, kind in self._classes.items() if name in around or name.startswith(inside)]
        return {word for kind in kinds for word in words_of(kind)}

    def _used(self, part: Order) -> int | None:
        return min(map(self._order.__getitem__, self._held(part)), default=None)

    def _by_neighbours(
        self, ours: Sequence[Order], theirs: Sequence[Order]
    ) -> Iterator[tuple[int, int, str]]:
        if len(ours) > _MOST:
            return
        kin = self._kin(ours)
        ends = [self._beside(part) for part in theirs]
        table = [
            [
                self._count(mine, up) * (side != "before") + self._count(mine, down) * (side != "after")
                for up, down in ends
            ]
            for mine, side in kin
        ]
        best, always = 0, set[tuple[int, int]]()
        for turn in permutations(range(len(theirs))):
            pairs = set(enumerate(turn))
            score = sum(table[i][j] for i, j in pairs)
            if score > best:
                best, always = score, pairs
            elif score == best:
                always &= pairs
        for i, j in sorted(always) if best else ():
            next_best = max((score for k, score in enumerate(table[i]) if k != j), default=0)
            yield i, j, f"beside {table[i][j]} of the same layers when it runs, the next beside {next_best}"

    def _beside(self, part: Order) -> tuple[int, int]:
        """The tensors whose results it takes, and those that take its result, as bits."""
        above = below = 0
        for module in part.modules:
            for leaf in module.leaves.values():
                above |= self._flow.above.get(leaf.origin, 0)
                below |= self._flow.below.get(leaf.origin, 0)
        return above, below

    def _count(self, settled: set[int], bits: int) -> int:
        """How many of these settled layers are among them."""
        return sum(any(bits >> bit & 1 for bit in self._bits[place]) for place in settled)

    def _kin(self, parts: Sequence[Order]) -> list[tuple[set[int], str]]:
        """The settled layers that each part belongs with by its name, and on which side of them it is."""
        groups = [part.modules for part in parts]
        names = relative_names(groups)
        above = groups[0][0].path[: len(_shared([module.path for group in groups for module in group]))]
        found: list[tuple[set[int], str]] = []
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
            side = next((_SIDES[word] for word in words if word in _SIDES), "")
            found.append((kin, side))
        return found


def _only(bits: int, holders: Mapping[int, Sequence[Module]]) -> Module | None:
    """The one module that all these bits are of."""
    found: Module | None = None
    for bit in places(bits):
        for module in holders[bit]:
            if found is not None and module is not found:
                return None
            found = module
    return found


def _share(words: set[str], others: set[str]) -> bool:
    return any(same_word(word, other) for word in words for other in others)


def _shared(paths: Sequence[_Path]) -> _Path:
    first, last = min(paths), max(paths)
    size = next(
        (k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:size]


def _is_llamas(parts: Sequence[Order]) -> bool:
    """Whether these are `w1` and `w3`, of which it is known that the first is the gate."""
    return [part.modules[0].path[-1] for part in parts] == ["w1", "w3"]
