"""Two checkpoints compared, on a terminal: the verdict, then each name that differs and in what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.diff_rows import DiffRow, diff_rows
from torchgraft.report.quantities import plural
from torchgraft.report.safe_text import clean
from torchgraft.report.terminal.long_table import LONG, Column, LongTable

if TYPE_CHECKING:
    from torchgraft.comparing import Diff

__all__ = ["diff_view"]

_MARKS = {
    "only in a": ("−", "red"),
    "only in b": ("+", "green"),
    "same": ("=", "dim"),
}


def diff_view(diff: Diff, *, all: bool = False) -> RenderableType:  # noqa: A002 (the public word for it)
    """The comparison as a renderable for a rich console.

    Args:
        diff: What to show.
        all: Show every name on a line of its own, also those that are the same.
    """
    blocks: list[RenderableType] = [_side("a", diff.a), _side("b", diff.b), "", _verdict(diff)]
    if rows := diff_rows(diff, all=all):
        blocks += ["", _table(rows)]
    return Group(*blocks)


def _side(letter: str, name: str) -> Text:
    return Text.assemble((f"{letter}  ", "dim"), (clean(name), "bold"))


def _verdict(diff: Diff) -> Text:
    compared = "names, shapes, dtypes and values" if diff.values else "names, shapes and dtypes"
    tensors = plural(len(diff.tensors), "tensor")
    if diff.equal:
        verdict = Text(f"✓ no difference in {compared} of {tensors}", style="bold green")
    else:
        counts = " · ".join(f"{n:,} {what}" for what, n in diff.counts.items())
        verdict = Text(f"✗ {tensors}: {counts}", style="bold yellow")
    return verdict if diff.values else verdict.append("  (values were not compared)", style="dim")


def _table(rows: list[DiffRow]) -> RenderableType:
    if len(rows) >= LONG:
        return _long_table(rows)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("tensor", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("shape", overflow="fold")
    table.add_column("", overflow="fold")
    for row in rows:
        mark, style = _MARKS.get(row.what, ("≠", "yellow"))
        table.add_row(
            Text(f"{mark} {row.what}", style=style),
            Text(row.name),
            Text(f"×{row.tensors}" if row.tensors > 1 else "", style="dim"),
            Text(row.shapes),
            Text(row.details, style="dim"),
        )
    return table


def _long_table(rows: list[DiffRow]) -> LongTable:
    columns = (
        Column(""),
        Column("tensor", folds=True),
        Column("", right=True),
        Column("shape", folds=True),
        Column("", folds=True),
    )
    marks = [_MARKS.get(row.what, ("≠", "yellow")) for row in rows]
    cells = [
        (
            f"{mark} {row.what}",
            row.name,
            f"×{row.tensors}" if row.tensors > 1 else "",
            row.shapes,
            row.details,
        )
        for row, (mark, _) in zip(rows, marks, strict=True)
    ]
    return LongTable(columns, cells, [(style, "", "dim", "", "dim") for _, style in marks])
