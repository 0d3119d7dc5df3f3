"""Which row of an old classifier belongs to which class of a new one, by class name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torchgraft.errors import AdaptError

__all__ = ["RowMap", "match_labels"]


@dataclass(frozen=True, slots=True)
class RowMap:
    """For each row of the new classifier the old one's row, or `None` for a class it did not have.

    Attributes:
        rows: One entry a new row.
        source_rows: How many rows the old classifier has.
    """

    rows: tuple[int | None, ...]
    source_rows: int

    @property
    def carried(self) -> int:
        """How many new rows come from the old classifier."""
        return sum(row is not None for row in self.rows)

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return self.rows == tuple(range(self.source_rows))


def match_labels(source: Sequence[str], target: Sequence[str]) -> RowMap:
    """Pair classes by name: case, and spaces, hyphens and underscores, make no difference.

    A label may list synonyms after commas (`"tench, Tinca tinca"`). The whole label counts before its
    synonyms. No shared name gives a map that carries nothing.

    Args:
        source: The old classifier's labels, in the order of its rows. A name may be there twice (ImageNet
            has two cranes) so long as the new one does not ask for it.
        target: The new one's.

    Raises:
        AdaptError: A new name stands there twice, or fits several old classes, or two new names fit
            the same old class.
    """
    wholes = [_normal(label) for label in target]
    if wholes == [_normal(label) for label in source]:
        return RowMap(tuple(range(len(source))), len(source))
    for index, name in enumerate(wholes):
        first = wholes.index(name)
        if first != index:
            raise AdaptError(f"classes {first} and {index} have the same name, {target[index]!r}")

    by_whole, by_synonym = _index(source, whole=True), _index(source, whole=False)
    rows: list[int | None] = []
    taken: dict[int, str] = {}
    for label, whole in zip(target, wholes, strict=True):
        found = by_whole.get(whole) or set().union(
            *(by_synonym.get(name, set()) for name in _synonyms(label))
        )
        if len(found) > 1:
            named = ", ".join(f"{row} ({source[row]!r})" for row in sorted(found))
            raise AdaptError(
                f"class {label!r} fits several classes of the source: {named}",
                hint="spell the label out as the source does, or rename it so that its row starts fresh",
            )
        row = next(iter(found), None)
        if row is not None and taken.setdefault(row, label) != label:
            raise AdaptError(
                f"classes {taken[row]!r} and {label!r} both name the source's class {source[row]!r}"
            )
        rows.append(row)
    return RowMap(tuple(rows), len(source))


def _normal(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())


def _synonyms(label: str) -> set[str]:
    return {_normal(name) for name in label.split(",")} - {""}


def _index(labels: Sequence[str], *, whole: bool) -> dict[str, set[int]]:
    index: dict[str, set[int]] = defaultdict(set)
    for row, label in enumerate(labels):
        for name in {_normal(label)} if whole else _synonyms(label):
            index[name].add(row)
    return index
