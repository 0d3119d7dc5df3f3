"""Hypothesis: the same architecture with more or fewer blocks.

Where a stack of numbered blocks is longer on one side and its first blocks are like all of the other's, those
are taken: `layers.0` goes to `layers.0`, as it does where names are equal. What is beyond has no partner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torchgraft.matching.fused import parts
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Matching
from torchgraft.matching.stacks import Path, Stack, stacks_of
from torchgraft.matching.structure import match_structure
from torchgraft.matching.structure_modules import modules_of

__all__ = ["match_depth"]


def match_depth(sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance) -> Matching | None:
    """Pair two networks of different depth by structure.

    Raises:
        AmbiguousMatchError: The blocks that both have fit in two ways.
    """
    ours = stacks_of(modules_of(parts(sources, targets, guidance.fused)))
    theirs = stacks_of(modules_of(parts(targets, sources, guidance.fused)))
    beyond: tuple[set[Path], set[Path]] = (set(), set())
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


def _partners(ours: Sequence[Stack], theirs: Sequence[Stack]) -> Iterator[tuple[Stack, Stack]]:
    """Stacks of unequal length, each the only one that begins like the other."""
    fits = [(one, other) for one in ours for other in theirs if _alike(one, other)]
    for one, other in fits:
        alone = all((a is one) == (b is other) for a, b in fits)
        if alone and len(one.blocks) != len(other.blocks):
            yield one, other


def _alike(one: Stack, other: Stack) -> bool:
    size = min(len(one.kinds), len(other.kinds))
    return one.kinds[:size] == other.kinds[:size]


def _without(pieces: Sequence[Piece], blocks: set[Path]) -> list[Piece]:
    def dropped(path: Path) -> bool:
        return any(path[:depth] in blocks for depth in range(1, len(path) + 1))

    return [piece for piece in pieces if not dropped(piece.path)]
