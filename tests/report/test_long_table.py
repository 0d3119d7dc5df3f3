"""The table for thousands of rows, held against rich's own."""

from __future__ import annotations

import io
import random
import re

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchgraft.report.terminal.long_table import Column, LongTable

COLUMNS = (
    Column("  name", folds=True),
    Column("", right=True),
    Column("shape", folds=True),
    Column("dtype"),
    Column("elements", right=True),
)
STYLES = ("", "dim", "", "dim", "bold red")


def rows(count: int, *, wide: bool) -> list[tuple[str, ...]]:
    draw = random.Random(count)
    return [
        (
            f"  layers.{n}.{'x' * draw.randint(1, 60)}.weight{'日本é' if wide and n % 7 == 0 else ''}",
            f"×{n}" if wide and n % 3 else "",
            f"[{', '.join(['3'] * draw.randint(1, 14))}]",
            "float32",
            str(n),
        )
        for n in range(count)
    ]


def rich_table(cells: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in COLUMNS:
        if column.folds:
            table.add_column(column.title, overflow="fold")
        else:
            table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(cell, style=style) for cell, style in zip(row, STYLES, strict=True)))
    return table


def printed(what: Table | LongTable, width: int, *, coloured: bool) -> str:
    text = io.StringIO()
    colours = "standard" if coloured else None
    Console(file=text, width=width, force_terminal=coloured, color_system=colours).print(what)  # type: ignore[arg-type]
    return text.getvalue()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 50])
def test_it_looks_like_richs(width: int, wide: bool) -> None:
    cells = rows(600, wide=wide)
    table = LongTable(COLUMNS, cells, [STYLES])
    assert printed(table, width, coloured=False) == printed(rich_table(cells), width, coloured=False)


def test_it_is_coloured() -> None:
    cells = rows(3, wide=True)
    shown = printed(LongTable(COLUMNS, cells, [STYLES]), 120, coloured=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == printed(rich_table(cells), 120, coloured=False)
    assert "\x1b[2m×1" in shown
    assert "\x1b[1;31m" in shown


def test_styles_row_by_row() -> None:
    table = LongTable((Column(""),), [("a",), ("b",)], [("red",), ("green",)])
    assert "\x1b[31ma" in printed(table, 80, coloured=True)
    assert "\x1b[32mb" in printed(table, 80, coloured=True)
