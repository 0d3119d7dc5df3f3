"""Which rows of an old classifier belong to which class of a new one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torchgraft.errors import AdaptError

__all__ = ["LabelIndex", "Row", "RowMap", "match_labels"]

Row: TypeAlias = int | tuple[int, ...] | None
"""Where a new row comes from: an old one, several that are merged, or none."""


@dataclass(frozen=True, slots=True)
class RowMap:
    """For each row of the new classifier the old one's row, or `None` for a class it did not have.

    Attributes:
        rows: One entry a new row.
        source_rows: How many rows the old classifier has.
        merges: If there are any, `rows` counts these: each is the old rows that are made one.
    """

    rows: tuple[int | None, ...]
    source_rows: int
    merges: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, sources: Sequence[Row], source_rows: int) -> RowMap:
        """The map of what each new row comes from."""
        if not any(isinstance(row, tuple) for row in sources):
            return cls(tuple(row for row in sources if not isinstance(row, tuple)), source_rows)
        merges = tuple(row if isinstance(row, tuple) else (row,) for row in sources if row is not None)
        places = iter(range(len(merges)))
        return cls(tuple(None if row is None else next(places) for row in sources), source_rows, merges)

    @property
    def sources(self) -> tuple[Row, ...]:
        """What each new row comes from, merged rows spelled out."""
        if not self.merges:
            return self.rows
        merges = [rows[0] if len(rows) == 1 else rows for rows in self.merges]
        return tuple(None if row is None else merges[row] for row in self.rows)

    @property
    def carried(self) -> int:
        """How many new rows come from the old classifier."""
        return sum(row is not None for row in self.rows)

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return not self.merges and self.rows == tuple(range(self.source_rows))


class LabelIndex:
    """The rows of class names: case, and spaces, hyphens and underscores, make no difference.

    A label may list synonyms after commas (`"tench, Tinca tinca"`). The whole label counts before its
    synonyms.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self._whole: dict[str, set[int]] = defaultdict(set)
        self._synonyms: dict[str, set[int]] = defaultdict(set)
        for row, label in enumerate(labels):
            self._whole[_normal(label)].add(row)
            for name in _synonyms(label):
                self._synonyms[name].add(row)

    def row(self, label: str) -> int | None:
        """The row that the label names, if there is one.

        Raises:
            AdaptError: There are several.
        """
        found = self._whole.get(_normal(label)) or set().union(
            *(self._synonyms.get(name, set()) for name in _synonyms(label))
        )
        if len(found) > 1:
            named = ", ".join(f"{row} ({self.labels[row]!r})" for row in sorted(found))
            raise AdaptError(
                f"class {label!r} fits several classes of the source: {named}",
                hint="spell the label out as the source does, or rename it so that its row starts fresh",
            )
        return next(iter(found), None)


def match_labels(source: Sequence[str], target: Sequence[str]) -> RowMap:
    """Pair classes by name, as `LabelIndex` tells them. No shared name gives a map that carries nothing.

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

    index_of = LabelIndex(source)
    rows: list[int | None] = []
    taken: dict[int, str] = {}
    for label in target:
        row = index_of.row(label)
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
