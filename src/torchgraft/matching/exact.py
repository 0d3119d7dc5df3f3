"""Hypothesis: names agree as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torchgraft.matching.folding import whole_pair
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Matching, Pair
from torchgraft.matching.wrappers import unwrapped
from torchgraft.tensors import Named

__all__ = ["NAMES_SHARE", "SHAPES_SHARE", "by_names", "explains", "match_exact", "match_same"]

NAMES_SHARE = 0.5
"""Names explain two lists if at least this share of the shorter one is found in the other: a backbone with a
foreign head passes, a foreign file with a `fc.weight` and a `conv1.weight` by chance does not."""

SHAPES_SHARE = 0.8
"""… and if the shapes of at least this share of them agree: a ResNet-18 file has only names that a ResNet-50
model has, but a third of the shapes differ."""

_HOW, _WHY = "exact names", "same name"

_REPLACED = 3
"""… or if no more than these differ, and not in rank: the kernel of a stem, the weight and bias of a head. In
a small network they are a large share."""


def match_same(sources: Sequence[Named], names: Sequence[str], targets: Sequence[Named]) -> Matching | None:
    """Pair lists of the same names and shapes, in any order, which need no look at what the names say.

    Args:
        sources: The checkpoint's tensors.
        names: What they are called after renaming.
        targets: The model's.

    Returns:
        What `match_exact` gives for them; `None` for other lists, and where a layout is marked.
    """
    if len(sources) != len(targets) or any(source.layout for source in sources):
        return None
    by_name = dict(zip(names, sources, strict=True))
    found = [by_name.get(target.name) for target in targets]
    if any(s is None or s.shape != t.shape for s, t in zip(found, targets, strict=True)):
        return None
    pairs = (Pair(s.name, t.name, _WHY) for s, t in zip(found, targets, strict=True) if s is not None)
    return Matching(_HOW, tuple(pairs))


def match_exact(sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance) -> Matching | None:
    """Pair equal names; where only those are wanted a single one is enough."""
    by_name = {source.name: source for source in sources}
    found = [(by_name[target.name], target) for target in targets if target.name in by_name]
    if not found:
        return None
    if guidance.mode != "exact":
        if not explains(found, len(sources), len(targets)):
            return None
        if len(found) < min(len(sources), len(targets)) and _wrapped(sources, targets) > len(found):
            return None  # a compiled part: the next hypothesis pairs it, too
    return by_names(_HOW, found, sources, targets, why=_WHY)


def _wrapped(sources: Sequence[Piece], targets: Sequence[Piece]) -> int:
    """How many names agree without wrappers' segments."""
    return len(set(unwrapped([s.name for s in sources])) & set(unwrapped([t.name for t in targets])))


def explains(found: Sequence[tuple[Piece, Piece]], sources: int, targets: int) -> bool:
    """Whether the pairs `found` by name are more than chance, in lists of these lengths."""
    if len(found) < NAMES_SHARE * min(sources, targets):
        return False
    differing = [(source.shape, target.shape) for source, target in found if source.shape != target.shape]
    if len(differing) <= (1 - SHAPES_SHARE) * len(found):
        return True
    return len(differing) <= _REPLACED and all(len(one) == len(other) for one, other in differing)


def by_names(
    how: str,
    found: Iterable[tuple[Piece, Piece]],
    sources: Sequence[Piece],
    targets: Sequence[Piece],
    *,
    why: str,
) -> Matching:
    """The matching of these pairs."""
    found = list(found)
    used_sources = {source.name for source, _ in found}
    used_targets = {target.name for _, target in found}
    return Matching(
        how=how,
        pairs=tuple(
            whole_pair(s, t, why if s.shape == t.shape else f"{why}; shapes differ: {s.shape} → {t.shape}")
            for s, t in found
        ),
        unmatched_sources=tuple(s.origin for s in sources if s.name not in used_sources),
        unmatched_targets=tuple(t.origin for t in targets if t.name not in used_targets),
    )
