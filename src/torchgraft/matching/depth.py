"""Hypothesis: the same architecture with more or fewer blocks.

Where a stack of numbered blocks is longer on one side and its first blocks are like all of the other's, those
are taken: `layers.0` goes to `layers.0`, as it does where names are equal. What is beyond has no partner.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from torchgraft.matching.fused import parts
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Matching
from torchgraft.matching.structure import match_structure
from torchgraft.matching.structure_modules import Module, modules_of

__all__ = ["match_depth"]

_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stack:
    """Numbered blocks under one name: their paths, and what each holds."""

    name: str
    blocks: tuple[_Path, ...]
    kinds: tuple[Hashable, ...]


def match_depth(sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance) -> Matching | None:
    """Pair two networks of different depth by structure.

    Raises:
        AmbiguousMatchError: The blocks that both have fit in two ways.
    """
    ours = _stacks(modules_of(parts(sources, targets, guidance.fused)))
    theirs = _stacks(modules_of(parts(targets, sources, guidance.fused)))
    beyond: tuple[set[_Path], set[_Path]] = (set(), set())
    doubts = []
    for one, other in _partners(ours, theirs):
        size = min(len(one.blocks), len(other.blocks))
        for side, stack in enumerate((one, other)):
            beyond[side].update(stack.blocks[size:])
        counts = f"{one.name!r} has {len(one.blocks)} blocks, {other.name!r} of the model {len(other.blocks)}"
        doubts.append(f"{counts}: the first {size} are taken")
    if not doubts:
        return None
    shorter = _without(sources, beyond[0]), _without(targets, beyond[1])
    found = match_structure(*shorter, guidance)
    if found is None:
        return None
    used = {source for pair in found.pairs for source in pair.sources}
    filled = {pair.target for pair in found.pairs}
    return replace(
        found,
        how=f"{found.how}, another depth",
        unmatched_sources=tuple(source.origin for source in sources if source.origin not in used),
        unmatched_targets=tuple(target.origin for target in targets if target.origin not in filled),
        doubts=(*found.doubts, *doubts),
    )


def _stacks(modules: Sequence[Module]) -> list[_Stack]:
    held: dict[_Path, Counter[Hashable]] = defaultdict(Counter)
    numbers: dict[_Path, dict[int, _Path]] = defaultdict(dict)
    for module in modules:
        for depth, component in enumerate(module.path):
            numbered = _NUMBERED.fullmatch(component)
            if numbered is None:
                continue
            block = module.path[: depth + 1]
            held[block][module.signature(squeezed=True)] += 1
            numbers[(*module.path[:depth], numbered[1])][int(numbered[2])] = block
    stacks = []
    for name, blocks in numbers.items():
        paths = tuple(blocks[number] for number in sorted(blocks))
        kinds = tuple(frozenset(held[path].items()) for path in paths)
        if any(held[path].total() > 1 for path in paths):
            stacks.append(_Stack(".".join(filter(None, name)), paths, kinds))
    return stacks


def _partners(ours: Sequence[_Stack], theirs: Sequence[_Stack]) -> Iterator[tuple[_Stack, _Stack]]:
    """Stacks of unequal length, each the only one that begins like the other."""
    fits = [(one, other) for one in ours for other in theirs if _alike(one, other)]
    for one, other in fits:
        alone = all((a is one) == (b is other) for a, b in fits)
        if alone and len(one.blocks) != len(other.blocks):
            yield one, other


def _alike(one: _Stack, other: _Stack) -> bool:
    size = min(len(one.kinds), len(other.kinds))
    return one.kinds[:size] == other.kinds[:size]


def _without(pieces: Sequence[Piece], blocks: set[_Path]) -> list[Piece]:
    def dropped(path: _Path) -> bool:
        return any(path[:depth] in blocks for depth in range(1, len(path) + 1))

    return [piece for piece in pieces if not dropped(piece.path)]
