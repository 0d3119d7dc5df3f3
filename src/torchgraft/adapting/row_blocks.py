"""Heads with more rows than one a class: four box coordinates for each, or every class for each anchor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torchgraft.adapting.change import Change
from torchgraft.adapting.merged_rows import MergedRows
from torchgraft.adapting.row_map import Row, RowMap
from torchgraft.adapting.rows import Rows
from torchgraft.errors import AdaptError

__all__ = ["RowBlocks"]


@dataclass(frozen=True, slots=True)
class RowBlocks:
    """How a head's rows are laid out: row = (place · classes + class) · inner + part.

    Attributes:
        outer: Places that have a row for every class, such as the anchors of RetinaNet or SSD.
        inner: Rows that belong together for one class, such as the four numbers of Faster R-CNN's boxes.
        scores: Whether a row gives a class's score, rather than something else of it: its box, its mask.
    """

    outer: int = 1
    inner: int = 1
    scores: bool = True

    @property
    def size(self) -> int:
        """Rows for each class."""
        return self.outer * self.inner

    def rows(self, classes: int) -> int:
        """The head's height for so many classes."""
        return classes * self.size

    def classes(self, rows: int) -> int:
        """The classes of a head of this height.

        Raises:
            AdaptError: The height is no multiple of the blocks.
        """
        classes, rest = divmod(rows, self.size)
        if rest:
            raise AdaptError(f"{rows} rows are no multiple of {self.size}, the rows for each class")
        return classes

    def applied(self, change: Change) -> Change:
        """The change of the head's rows that follows from what is wanted of its classes.

        The modes of `MergedRows` and `Rows` are about scores. What is no score is averaged for classes that
        become one, and for a new class, unless the model's own initialisation is wanted, over all there are.
        """
        rows = change.rows
        if rows is None:
            return change
        if self.scores:
            return replace(change, rows=self.expanded(rows))
        if change.mode(Rows.name, "model") != "model":
            every = tuple(range(rows.source_rows))
            rows = RowMap.of([every if row is None else row for row in rows.sources], rows.source_rows)
        modes = {MergedRows.name: "average", Rows.name: "model"}
        return replace(change, rows=self.expanded(rows), modes=modes)

    def expanded(self, classes: RowMap) -> RowMap:
        """The map of rows that follows from a map of classes."""
        have = classes.source_rows

        def row(old: int, place: int, part: int) -> int:
            return (place * have + old) * self.inner + part

        rows: list[Row] = [
            tuple(row(each, place, part) for each in old)
            if isinstance(old, tuple)
            else (None if old is None else row(old, place, part))
            for place in range(self.outer)
            for old in classes.sources
            for part in range(self.inner)
        ]
        return RowMap.of(rows, self.rows(have))
