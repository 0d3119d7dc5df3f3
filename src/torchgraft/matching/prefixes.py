"""Hypothesis: names agree once a prefix is taken off or put on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torchgraft.matching.exact import NAMES_SHARE, by_names, explains
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.leading import chosen, leading
from torchgraft.matching.pieces import Piece
from torchgraft.matching.refusals import ambiguous, rename_hint
from torchgraft.matching.result import Matching
from torchgraft.matching.wrappers import unwrapped

__all__ = ["match_prefixes"]

_SAMPLE = 64
"""Names by which a pair of prefixes is tried before all are compared."""


_EXCHANGED_SHARE = 0.8
"""Share of the shorter list that must agree where one prefix is exchanged for another: of two small networks
a layer or two always do, because each is a prefix with `weight` and `bias` under it."""

_NEAR = 0.5
"""Share of the best fit's tensors from which another branch is worth a note."""


@dataclass(frozen=True)
class _Fit:
    """What a pair of prefixes explains: pairs of indices (source, target), and how many agree in shape."""

    prefixes: tuple[str, str]
    found: tuple[tuple[int, int], ...]
    same: int


def match_prefixes(sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance) -> Matching | None:
    """Pair names that agree after a prefix is exchanged and wrappers' segments are dropped.

    Raises:
        AmbiguousMatchError: Two branches of the checkpoint, or of the model, fit equally well.
    """
    del guidance
    given = [source.name for source in sources], [target.name for target in targets]
    bare = unwrapped(given[0]), unwrapped(given[1])
    fits = list(_fits(*given, sources, targets))
    also = ""
    if bare != given and _most(fits)[1] < min(len(sources), len(targets)):
        inside = list(_fits(*bare, sources, targets))
        if _most(inside) > _most(fits):  # a wrapper deep in the names, where no prefix reaches
            fits, also = inside, "wrapper segments dropped"
    if not fits:
        return None
    best, notes = _best(fits, sources, targets)
    pairs = [(sources[s], targets[t]) for s, t in best.found]
    matching = by_names(_how(best.prefixes, also), pairs, sources, targets, why="same name, prefix aside")
    return replace(matching, notes=(*notes, *_runners_up(best, fits)))


def _best(
    fits: Sequence[_Fit], sources: Sequence[Piece], targets: Sequence[Piece]
) -> tuple[_Fit, tuple[str, ...]]:
    """The fit that explains most, and notes; of copies in the checkpoint one, of copies in the model all."""
    best = max(fits, key=_score)
    equal = list({fit.found: fit for fit in fits if _score(fit) == _score(best)}.values())
    if len(equal) == 1:
        return best, ()
    ours, theirs = ([{pair[side] for pair in fit.found} for fit in equal] for side in (0, 1))
    if all(side == ours[0] for side in ours) and sum(map(len, theirs)) == len(set().union(*theirs)):
        found = sorted((pair for fit in equal for pair in fit.found), key=lambda pair: pair[1])
        places = ", ".join(repr(fit.prefixes[1]) for fit in equal)
        note = f"the checkpoint goes into each of {places}"
        return _Fit(best.prefixes, tuple(found), sum(fit.same for fit in equal)), (note,)
    index = leading([fit.prefixes[0] for fit in equal])
    if index is None or not all(side == theirs[0] for side in theirs):
        raise _tie(equal[0], equal[1], sources, targets)
    return equal[index], (chosen([fit.prefixes[0] for fit in equal], index),)


def _runners_up(best: _Fit, fits: Sequence[_Fit]) -> Iterator[str]:
    """Notes on other branches that fit nearly as well: an EMA copy without the buffers, say."""
    taken = {source for source, _ in best.found}, {target for _, target in best.found}
    for fit in fits:
        apart = any(taken[side].isdisjoint(pair[side] for pair in fit.found) for side in (0, 1))
        if apart and fit.same >= _NEAR * best.same:
            hint = rename_hint(dict([fit.prefixes]))
            yield f"{_how(fit.prefixes, '')} would fit {fit.same} tensors: {hint}"


def _score(fit: _Fit) -> tuple[int, int]:
    return fit.same, len(fit.found)


def _most(fits: Sequence[_Fit]) -> tuple[int, int]:
    return max(map(_score, fits), default=(0, 0))


def _fits(
    ours: Sequence[str], theirs: Sequence[str], sources: Sequence[Piece], targets: Sequence[Piece]
) -> Iterator[_Fit]:
    shorter = min(len(ours), len(theirs))
    least = NAMES_SHARE * shorter
    by_source, by_target = _branches(ours, least), _branches(theirs, least)
    for prefix, branch in by_source.items():
        for other, there in by_target.items():
            if prefix and other and prefix.split(".")[-2] == other.split(".")[-2]:
                continue  # the same fit, or a part of it, as one segment higher
            few, many = (branch, there) if len(branch) <= len(there) else (there, branch)
            rests = list(few)
            sample = rests[:: max(1, len(rests) // _SAMPLE)]
            if sum(rest in many for rest in sample) < len(sample) * least / len(rests) / 2:
                continue
            found = [(index, there[rest]) for rest, index in branch.items() if rest in there]
            found.sort(key=lambda pair: pair[1])
            pairs = [(sources[s], targets[t]) for s, t in found]
            enough = _EXCHANGED_SHARE * shorter if prefix and other else least
            if len(pairs) >= enough and explains(pairs, len(ours), len(theirs)):
                same = sum(s.shape == t.shape for s, t in pairs)
                if same:
                    yield _Fit((prefix, other), tuple(found), same)


def _branches(names: Sequence[str], least: float) -> Mapping[str, dict[str, int]]:
    """For each prefix ("" or one that ends at a dot) with enough names under it: rest of the name → index."""
    indices: dict[str, list[int]] = {"": list(range(len(names)))}
    wave = [""]
    while wave:
        following: list[str] = []
        for prefix in wave:
            children: dict[str, list[int]] = defaultdict(list)
            for index in indices[prefix]:
                dot = names[index].find(".", len(prefix))
                if dot >= 0:
                    children[names[index][: dot + 1]].append(index)
            for child, members in children.items():
                if len(members) >= max(least, 1):
                    indices[child] = members
                    following.append(child)
        wave = following
    return {prefix: {names[i][len(prefix) :]: i for i in members} for prefix, members in indices.items()}


def _how(prefixes: tuple[str, str], also: str) -> str:
    old, new = prefixes
    parts = []
    if old and new:
        parts.append(f"prefix {old!r} → {new!r}")
    elif old or new:
        parts.append(f"prefix {old!r} removed" if old else f"prefix {new!r} added")
    if also:
        parts.append(also)
    return ", ".join(parts)


def _tie(one: _Fit, other: _Fit, sources: Sequence[Piece], targets: Sequence[Piece]) -> Exception:
    def example(fit: _Fit) -> list[tuple[str, str]]:
        source, target = fit.found[0]
        return [(sources[source].name, targets[target].name)]

    hint = " or ".join(rename_hint(dict([fit.prefixes])) for fit in (one, other))
    return ambiguous(example(one), example(other), len(one.found), hint)
