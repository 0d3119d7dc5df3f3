"""A table of thousands of rows that looks like those of rich, which takes long for each cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

__all__ = ["LONG", "Column", "LongTable"]

LONG = 1000
"""From so many rows on, it is worth while."""

_GAP = 2
_AT_ONCE = 512
_CONSOLE = Console()


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        title: Its heading.
        right: Its cells end at one line, instead of beginning there.
        folds: Its cells may be folded where the table is too wide.
    """

    title: str
    right: bool = False
    folds: bool = False


@dataclass(frozen=True, slots=True)
class LongTable:
    """A renderable for a rich console: rows without lines between them, two spaces between columns.

    Attributes:
        columns: The columns.
        rows: For each row, the text of each cell.
        styles: For each row, the style of each cell; of all rows, when there is one only.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    styles: Sequence[Sequence[str]] = field(default=())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """The lines, a few hundred at a time."""
        titles = [column.title for column in self.columns]
        widths = self._widths(options.max_width)
        coloured = console.color_system is not None and not console.no_color
        known: dict[str, Style] = {}

        def segments(row: Sequence[str], styles: Iterable[str]) -> Iterator[Segment]:
            for cells in self._lines(row, widths):
                for cell, style in zip(cells, styles, strict=False):
                    yield Segment(cell, known.setdefault(style, Style.parse(style)) if style else None)
                yield Segment.line()

        yield from segments(titles, ["dim"] * len(titles))
        for first in range(0, len(self.rows), _AT_ONCE):
            rows = self.rows[first : first + _AT_ONCE]
            if coloured:
                styles = (
                    self.styles[first : first + _AT_ONCE]
                    if len(self.styles) > 1
                    else [*self.styles] * len(rows)
                )
                yield from chain.from_iterable(map(segments, rows, styles))
            else:
                yield Segment("\n".join(map("".join, self._all_lines(rows, widths))))
                yield Segment.line()

    def _widths(self, most: int) -> list[int]:
        """Of each column, without the gap. Where there is too little room, the widest that fold give way."""
        cells = zip(*self.rows, strict=True)
        widths = [
            max(_width(column.title), _widest(texts))
            for column, texts in zip(self.columns, cells, strict=True)
        ]
        while (excess := sum(widths) + _GAP * len(widths) - most) > 0:
            folding = [width for width, column in zip(widths, self.columns, strict=True) if column.folds]
            widest = max(folding, default=0)
            next_widest = max((width for width in folding if width < widest), default=0)
            tied, step = folding.count(widest), min(excess, widest - next_widest)
            if widest <= 1:
                break
            for at, column in enumerate(self.columns):
                if column.folds and widths[at] == widest:
                    less = min(step, round(excess / tied))
                    widths[at] = max(1, widest - less)
                    excess, tied = excess - less, tied - 1
        return widths

    def _all_lines(self, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterable[Sequence[str]]:
        columns = list(zip(*rows, strict=True))
        if not all(
            "".join(cells).isascii() and _widest(cells) <= width
            for cells, width in zip(columns, widths, strict=True)
        ):
            return chain.from_iterable(self._lines(row, widths) for row in rows)
        padded = [
            [cell.rjust(width) + "  " for cell in cells]
            if column.right
            else [cell.ljust(width + _GAP) for cell in cells]
            for column, cells, width in zip(self.columns, columns, widths, strict=True)
        ]
        return zip(*padded, strict=True)

    def _lines(self, row: Sequence[str], widths: Sequence[int]) -> Iterator[list[str]]:
        """The row's cells, padded; on several lines where one is folded."""
        folded = [
            [text] if _width(text) <= width else _folded(text, width)
            for text, width in zip(row, widths, strict=True)
        ]
        if all(len(lines) == 1 for lines in folded):
            yield [self._padded(at, text, widths[at]) for at, text in enumerate(row)]
            return
        for texts in zip_longest(*folded, fillvalue=""):
            yield [self._padded(at, text, widths[at]) for at, text in enumerate(texts)]

    def _padded(self, at: int, text: str, width: int) -> str:
        room = " " * (width - _width(text))
        return f"{room}{text}  " if self.columns[at].right else f"{text}{room}  "


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _widest(texts: Sequence[str]) -> int:
    return max(map(len if "".join(texts).isascii() else cell_len, texts), default=0)


def _folded(text: str, width: int) -> list[str]:
    """As rich folds it: between words, and in words that are longer than a line."""
    return [line.plain.rstrip() for line in Text(text).wrap(_CONSOLE, width, overflow="fold")]
