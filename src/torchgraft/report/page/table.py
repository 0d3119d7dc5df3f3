"""A section that is a table: sorted by the column that the reader chooses, with bars and a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.safe_text import clean

__all__ = ["Cell", "Column", "TableSection"]

_SEARCHED_FROM = 15  # rows
_LONG_FROM = 30  # rows, from which the table scrolls in a frame


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; whether it holds numbers, and whether the section is told of by it."""

    label: str
    number: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: What is shown.
        value: What it is sorted by, where that is not the text; `nan` comes last.
        share: The length of the bar behind it, 0 to 1.
        best: Whether it is the best of its column.
    """

    text: str
    value: float | None = None
    share: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class TableSection:
    """Rows of cells, as many as there are columns; the first column names the row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str
    text: str = ""
    sortable: bool = True
    template: ClassVar[str] = "table.html"
    styles: ClassVar[tuple[str, ...]] = ("run_table.css",)
    scripts: ClassVar[tuple[str, ...]] = ("sortable.js",)

    def view(self) -> Mapping[str, object]:
        """Texts, sort values and bars."""
        return {
            "text": self.text,
            "columns": self.columns,
            "sortable": self.sortable and len(self.rows) > 1,
            "searched": self.sortable and len(self.rows) >= _SEARCHED_FROM,
            "long": len(self.rows) > _LONG_FROM,
            "rows": [
                [_cell(cell, column) for cell, column in zip(row, self.columns, strict=True)]
                for row in self.rows
            ],
        }


def _cell(cell: Cell, column: Column) -> Mapping[str, object]:
    value = cell.value
    return {
        "text": clean(cell.text, limit=400),
        "value": None if value is None else repr(float(value)) if math.isfinite(value) else "",
        "number": column.number,
        "bar": None if cell.share is None else round(100 * min(max(cell.share, 0.0), 1.0), 1),
        "best": cell.best,
    }
