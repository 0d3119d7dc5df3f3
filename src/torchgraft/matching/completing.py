"""Names that explain a part of two lists: structure may pair the rest, if it agrees about that part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.folding import whole_pair
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Matching
from torchgraft.matching.structure import match_structure
from torchgraft.matching.structure_modules import Module, modules_of

__all__ = ["completed"]

ENOUGH = 0.9
"""Share of the shorter list from which a layer of the same shape elsewhere proves nothing: what is left is
most likely a new head. Then structure must pair all that is left, and a layer left alone must be the last."""


def completed(
    named: Matching, sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance
) -> Matching:
    """The matching with the rest paired by structure, or as it is, with a note if the rest is tied."""
    ours, theirs = _unpaired(named, sources, targets)
    few = len(named.pairs) >= ENOUGH * min(len(sources), len(targets))
    if few and len(ours) == len(theirs) == 1:
        return _with_the_head(named, ours[0], theirs[0], sources, targets, guidance)
    if not ours or not theirs or (few and len(ours) != len(theirs)):
        return named
    try:
        whole = match_structure(sources, targets, guidance)
    except AmbiguousMatchError as tie:
        return (
            named if few else replace(named, notes=(*named.notes, f"what names do not pair is tied: {tie}"))
        )
    why = {(pair.source, pair.target): pair.why for pair in named.pairs}
    if whole is None or not why.keys() <= {(pair.source, pair.target) for pair in whole.pairs}:
        return named
    if few and (whole.unmatched_sources or whole.unmatched_targets):
        return named
    pairs = (replace(pair, why=why.get((pair.source, pair.target), pair.why)) for pair in whole.pairs)
    return replace(whole, how=f"{named.how}, the rest by structure", pairs=tuple(pairs), notes=named.notes)


def _unpaired(
    named: Matching, sources: Sequence[Piece], targets: Sequence[Piece]
) -> tuple[list[Module], list[Module]]:
    unpaired = set(named.unmatched_sources), set(named.unmatched_targets)
    return (
        modules_of(source for source in sources if source.origin in unpaired[0]),
        modules_of(target for target in targets if target.origin in unpaired[1]),
    )


def _with_the_head(
    named: Matching,
    one: Module,
    other: Module,
    sources: Sequence[Piece],
    targets: Sequence[Piece],
    guidance: Guidance,
) -> Matching:
    """The matching with the layers that are left, if they are of one shape and the last on either side."""
    if guidance.flow_of is None:
        return named
    shapes = [{leaf: piece.shape for leaf, piece in side.leaves.items()} for side in (one, other)]
    if shapes[0] != shapes[1] or not one.is_matrix or one.main.origin not in _last_names(sources):
        return named
    order = guidance.flow_of().order
    if not order or order.get(other.main.origin) != max(order.values()):
        return named
    last = [
        whole_pair(one.leaves[leaf], target, "the last layer, and the only one left, on both sides")
        for leaf, target in other.leaves.items()
    ]
    pairs = {pair.target: pair for pair in (*named.pairs, *last)}
    return replace(
        named,
        pairs=tuple(pairs[t.origin] for t in targets if t.origin in pairs),
        unmatched_sources=(),
        unmatched_targets=(),
        doubts=(
            *named.doubts,
            f"{one.main.origin} → {other.main.origin}: paired by place alone, as the last",
        ),
    )


def _last_names(sources: Sequence[Piece]) -> set[str]:
    """The tensors of the file's last layer."""
    return {source.origin for source in sources if source.path == sources[-1].path}
