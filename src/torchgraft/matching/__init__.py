"""Which tensor of a checkpoint belongs to which tensor of a model. Sees names, shapes and dtypes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from torchgraft.errors import MatchError
from torchgraft.matching.completing import completed
from torchgraft.matching.exact import match_exact
from torchgraft.matching.hypotheses import HYPOTHESES, Hypothesis, Mode
from torchgraft.matching.refusals import nothing_matches
from torchgraft.matching.renames import Renames, apply_renames
from torchgraft.matching.result import Matching, Pair, Part
from torchgraft.matching.structure import match_structure
from torchgraft.tensors import Named

__all__ = ["Matching", "Mode", "Pair", "Part", "Renames", "match"]


def match(
    sources: Sequence[Named], targets: Sequence[Named], *, rename: Renames | None = None, mode: Mode = "auto"
) -> Matching:
    """Pair the tensors of a checkpoint with those of a model.

    Args:
        sources: The checkpoint's tensors in file order, names distinct.
        targets: The model's, in state-dict order, names distinct.
        rename: Rules for the sources' names, applied first; see `Renames`.
        mode: `"auto"` takes the first of these that explains the two lists: equal names; a prefix
            added or removed; shapes, numbers and structure. `"exact"` takes equal names only, however
            few. `"order"` is `"auto"`, but pairs in file order what nothing else tells apart.

    Returns:
        Pairs under the checkpoint's original names, and what is left on either side.

    Raises:
        MatchError: Nothing explains the two lists, or a rename rule can't be used.
        AmbiguousMatchError: Two pairings fit equally well; the hint settles which.
    """
    if mode not in get_args(Mode):
        raise MatchError(
            f"there is no way of matching called {mode!r}", hint='match="auto", "exact" or "order"'
        )
    if not sources or not targets:
        raise nothing_matches(sources, targets, mode)
    names, notes = apply_renames([source.name for source in sources], rename)
    renamed = [Named(name, s.shape, s.dtype) for name, s in zip(names, sources, strict=True)]
    hypotheses: tuple[Hypothesis, ...] = (match_exact,) if mode == "exact" else HYPOTHESES
    for hypothesis in hypotheses:
        found = hypothesis(renamed, targets, mode)
        if found is not None:
            if hypothesis is not match_structure and mode != "exact":
                found = completed(found, renamed, targets, mode)
            original = dict(zip(names, (source.name for source in sources), strict=True))
            return replace(
                found,
                pairs=tuple(_renamed(pair, original) for pair in found.pairs),
                unmatched_sources=tuple(original[name] for name in found.unmatched_sources),
                notes=(*notes, *found.notes),
            )
    raise nothing_matches(renamed, targets, mode)


def _renamed(pair: Pair, names: Mapping[str, str]) -> Pair:
    joined = (
        replace(part, source=None if part.source is None else names[part.source]) for part in pair.joined
    )
    return replace(pair, source=names[pair.source], joined=tuple(joined))
