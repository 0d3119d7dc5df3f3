"""Hypothesis: one side holds the other as a part, or several times, under other names.

A checkpoint may hold two encoders, or a whole detector of which the model is the backbone; a model may hold
two copies of what the checkpoint holds once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.leading import chosen, leading
from torchgraft.matching.pieces import Piece
from torchgraft.matching.refusals import ambiguous, rename_hint
from torchgraft.matching.result import Matching
from torchgraft.matching.structure import SHARE, match_structure

__all__ = ["match_branches"]

_LEAST = 0.5
"""Share of the other side's tensors that a branch has at least."""

_Found = dict[str, Matching]
_Try = Callable[[Sequence[Piece]], "Matching | None"]


def match_branches(sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance) -> Matching | None:
    """Pair a branch of the checkpoint with the model, or the checkpoint with each branch of the model.

    Raises:
        AmbiguousMatchError: Several branches of the checkpoint fit, or one fits in two ways.
    """
    inside = {
        prefix: matching
        for prefix, matching in _fitting(
            sources, len(targets), lambda branch: match_structure(branch, targets, guidance)
        ).items()
        if len(matching.pairs) >= SHARE * len(targets)
    }
    if inside:
        return _chosen(inside | _beside(inside, sources, targets, guidance), sources)
    copies = {
        prefix: matching
        for prefix, matching in _fitting(
            targets, len(sources), lambda branch: match_structure(sources, branch, guidance)
        ).items()
        if len({source for pair in matching.pairs for source in pair.sources}) >= SHARE * len(sources)
    }
    return _copied(copies, sources, targets) if copies else None


def _beside(inside: _Found, sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance) -> _Found:
    """What is in no branch, if it fits as well: a network at the top, of which a branch is a copy."""
    rest = [source for source in sources if not source.name.startswith(tuple(inside))]
    fits = match_structure(rest, targets, guidance) if 2 * len(rest) >= len(targets) else None
    return {} if fits is None or len(fits.pairs) < SHARE * len(targets) else {"": fits}


def _fitting(pieces: Sequence[Piece], others: int, matched: _Try) -> _Found:
    """The outermost branches that structure explains."""
    found: _Found = {}
    tie: AmbiguousMatchError | None = None
    for prefix, members in _branches(pieces, _LEAST * others):
        if any(prefix.startswith(outer) for outer in found):
            continue
        try:
            matching = matched(members)
        except AmbiguousMatchError as error:
            tie = error
            continue
        if matching is not None:
            found[prefix] = matching
    if tie is not None and not found:
        raise tie
    return found


def _branches(pieces: Sequence[Piece], least: float) -> Iterator[tuple[str, list[Piece]]]:
    """Prefixes that some but not all of the names have, with what is under them; the outer ones first."""
    wave: list[tuple[str, list[Piece]]] = [("", list(pieces))]
    while wave:
        following = []
        for prefix, members in wave:
            children: dict[str, list[Piece]] = {}
            for member in members:
                head, dot, _ = member.name[len(prefix) :].partition(".")
                if dot:
                    children.setdefault(f"{prefix}{head}.", []).append(member)
            for child, under in children.items():
                if len(under) < max(least, 2):
                    continue
                if len(under) < len(members):
                    yield child, under
                following.append((child, under))
        wave = following


def _chosen(found: _Found, sources: Sequence[Piece]) -> Matching:
    prefixes = list(found)
    index = leading(prefixes) if len(prefixes) > 1 else 0
    doubts: tuple[str, ...] = ()
    if "" in found:  # as where names are equal: what is at the top is the network, what is in a branch a copy
        doubts = () if index == prefixes.index("") else (chosen(prefixes, prefixes.index("")),)
        index = prefixes.index("")
    if index is None:
        one, other = (found[prefix].pairs[0] for prefix in prefixes[:2])
        hint = " or ".join(rename_hint({f"{prefix}": ""}) for prefix in prefixes[:2])
        raise ambiguous(
            [(one.source, one.target)],
            [(other.source, other.target)],
            len(found[prefixes[0]].pairs),
            f"take one of them by its name: {hint}",
        )
    taken = found[prefixes[index]]
    used = {source for pair in taken.pairs for source in pair.sources}
    others = [
        f"{prefix!r} would fit as well and is not used: {rename_hint({prefix: ''})}"
        for prefix in prefixes
        if prefix != prefixes[index]
    ]
    return replace(
        taken,
        how=f"{taken.how}, {repr(prefixes[index]) if prefixes[index] else 'the top'} of the checkpoint",
        unmatched_sources=tuple(source.origin for source in sources if source.origin not in used),
        notes=(*taken.notes, *others),
        doubts=(*taken.doubts, *doubts),
    )


def _copied(found: _Found, sources: Sequence[Piece], targets: Sequence[Piece]) -> Matching:
    """One source goes to several places."""
    pairs = {pair.target: pair for matching in found.values() for pair in matching.pairs}
    used = {source for pair in pairs.values() for source in pair.sources}
    names = ", ".join(map(repr, found))
    note = (f"the checkpoint goes into each of {names}",) if len(found) > 1 else ()
    return Matching(
        how=f"{next(iter(found.values())).how}, {names} of the model",
        pairs=tuple(pairs[target.origin] for target in targets if target.origin in pairs),
        unmatched_sources=tuple(source.origin for source in sources if source.origin not in used),
        unmatched_targets=tuple(target.origin for target in targets if target.origin not in pairs),
        notes=(*next(iter(found.values())).notes, *note),
        doubts=next(iter(found.values())).doubts,
    )
