"""Hypothesis: names agree as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torchgraft.matching.result import Matching, Pair
from torchgraft.tensors import Named

__all__ = ["NAMES_SHARE", "SHAPES_SHARE", "by_names", "explains", "match_exact"]

NAMES_SHARE = 0.5
"""Names explain two lists if at least this share of the shorter one is found in the other: a backbone with a
foreign head passes, a foreign file with a `fc.weight` and a `conv1.weight` by chance does not."""

SHAPES_SHARE = 0.8
"""… and if the shapes of at least this share of them agree: a ResNet-18 file has only names that a ResNet-50
model has, but a third of the shapes differ."""


def match_exact(sources: Sequence[Named], targets: Sequence[Named], mode: str) -> Matching | None:
    """Pair equal names; with `mode="exact"` a single one is enough."""
    by_name = {source.name: source for source in sources}
    found = [(by_name[target.name], target) for target in targets if target.name in by_name]
    if not found or (mode != "exact" and not explains(found, len(sources), len(targets))):
        return None
    return by_names("exact names", found, sources, targets, why="same name")


def explains(found: Sequence[tuple[Named, Named]], sources: int, targets: int) -> bool:
    """Whether the pairs `found` by name are more than chance, in lists of these lengths."""
    same = sum(source.shape == target.shape for source, target in found)
    return len(found) >= NAMES_SHARE * min(sources, targets) and same >= SHAPES_SHARE * len(found)


def by_names(
    how: str,
    found: Iterable[tuple[Named, Named]],
    sources: Sequence[Named],
    targets: Sequence[Named],
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
            Pair(
                s.name, t.name, why if s.shape == t.shape else f"{why}; shapes differ: {s.shape} → {t.shape}"
            )
            for s, t in found
        ),
        unmatched_sources=tuple(s.name for s in sources if s.name not in used_sources),
        unmatched_targets=tuple(t.name for t in targets if t.name not in used_targets),
    )
