"""Names that explain a part of two lists: structure may pair the rest, if it agrees about that part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Matching
from torchgraft.matching.structure import match_structure

__all__ = ["completed"]

ENOUGH = 0.9
"""Share of the shorter list from which names are left alone: what is left then is a new head, and a layer of
the same shape elsewhere proves nothing."""


def completed(
    named: Matching, sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance
) -> Matching:
    """The matching with the rest paired by structure, or as it is, with a note if the rest is tied."""
    if len(named.pairs) >= ENOUGH * min(len(sources), len(targets)):
        return named
    try:
        whole = match_structure(sources, targets, guidance)
    except AmbiguousMatchError as tie:
        return replace(named, notes=(*named.notes, f"what names do not pair is tied: {tie}"))
    why = {(pair.source, pair.target): pair.why for pair in named.pairs}
    if whole is None or not why.keys() <= {(pair.source, pair.target) for pair in whole.pairs}:
        return named
    pairs = (replace(pair, why=why.get((pair.source, pair.target), pair.why)) for pair in whole.pairs)
    return replace(whole, how=f"{named.how}, the rest by structure", pairs=tuple(pairs), notes=named.notes)
