"""A checkpoint on a terminal: what kind of file it is, which part are the weights, every tensor in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from torchgraft.report.checkpoint_rows import TensorRow, dtype_totals, highlights, tensor_rows
from torchgraft.report.quantities import compact, memory, plural
from torchgraft.report.safe_text import clean
from torchgraft.report.terminal.long_table import LONG, Column, LongTable
from torchgraft.report.value_states import findings

if TYPE_CHECKING:
    from torchgraft.checkpoint import Checkpoint
    from torchgraft.measuring import TensorStats

__all__ = ["checkpoint_view"]


def checkpoint_view(
    ckpt: Checkpoint,
    *,
    all: bool = False,  # noqa: A002
    stats: Mapping[str, TensorStats] | None = None,
) -> RenderableType:
    """The checkpoint as a renderable for a rich console.

    Args:
        ckpt: What to show; nothing of it is read but its header.
        all: Show every tensor on a line of its own instead of collapsing numbered siblings.
        stats: What was measured of its values, where they were read; what is odd is said.
    """
    blocks: list[RenderableType] = [_heading(ckpt), _facts(ckpt)]
    if len(ckpt.parts) > 1:
        blocks += ["", Text("Parts", style="bold"), _parts(ckpt)]
    if rest := highlights(ckpt.metadata):
        blocks += ["", Text("Beside the weights", style="bold"), _pairs(rest)]
    if ckpt.classes:
        blocks += ["", Text("Unknown classes (not run)", style="bold yellow")]
        blocks += [Text(f"  {clean(name)}") for name in ckpt.classes]
    title = f"Tensors of “{clean(ckpt.part)}”" if ckpt.part else "Tensors"
    blocks += ["", Text(title, style="bold"), _tensors(ckpt, all), _totals(ckpt)]
    if stats is not None:
        blocks += ["", Text("Values", style="bold"), _values(ckpt, stats)]
    return Group(*blocks)


def _values(ckpt: Checkpoint, stats: Mapping[str, TensorStats]) -> RenderableType:
    found = findings(ckpt, stats)
    if not found:
        return Text("  ✓ every value is finite; no tensor is dead, constant or stored twice", style="green")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        bad = finding.state.key == "undeclared"
        fate = Text(
            f"  {finding.state.symbol} {finding.count} {finding.state.word}", "bold red" if bad else "yellow"
        )
        table.add_row(fate, Text(", ".join(finding.names)))
    return table


def _heading(ckpt: Checkpoint) -> Text:
    return Text(clean(ckpt.name), style="bold")


def _facts(ckpt: Checkpoint) -> Table:
    rows = [("format", clean(ckpt.format))] if ckpt.format else []
    if ckpt.path is not None and ckpt.path.is_file():
        rows.append(("size", memory(ckpt.path.stat().st_size)))
    part = clean(ckpt.part) if ckpt.part else "the whole file"
    rows.append(("weights", f"{part} ({clean(ckpt.why)})" if ckpt.why else part))
    return _pairs(rows)


def _pairs(rows: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(Text(f"  {label}"), Text(value))
    return table


def _parts(ckpt: Checkpoint) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("part", overflow="fold")
    table.add_column("tensors", justify="right")
    table.add_column("elements", justify="right")
    table.add_column("looks like", overflow="fold")
    for part in ckpt.parts:
        chosen = part.name == ckpt.part
        table.add_row(
            Text("▸" if chosen else " ", style="green"),
            Text(clean(part.name) or "(root)", style="bold" if chosen else ""),
            Text(f"{part.tensors:,}"),
            Text(compact(part.numel)),
            Text(f"{part.kind}: {clean(part.why)}"),
        )
    return table


def _tensors(ckpt: Checkpoint, separate: bool) -> RenderableType:
    rows = tensor_rows(ckpt.values(), all=separate)
    if len(rows) >= LONG and not any(row.layout for row in rows):
        columns = (
            Column("  name", folds=True),
            Column("", right=True),
            Column("shape", folds=True),
            Column("dtype"),
            Column("elements", right=True),
        )
        cells = [(f"  {row.name}", _times(row), row.shape, row.dtype, compact(row.numel)) for row in rows]
        return LongTable(columns, cells, [("", "dim", "", "dim", "")])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("name", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("shape", overflow="fold")
    table.add_column("dtype", no_wrap=True)
    table.add_column("elements", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row.name),
            Text(_times(row), style="dim"),
            Text.assemble(row.shape, (f"  {row.layout}", "yellow")) if row.layout else Text(row.shape),
            Text(row.dtype, style="dim"),
            Text(compact(row.numel)),
        )
    return Padding(table, (0, 0, 0, 2), expand=False)  # so that the second line of a long name is set in too


def _times(row: TensorRow) -> str:
    return f"×{row.tensors}" if row.tensors > 1 else ""


def _totals(ckpt: Checkpoint) -> Text:
    totals = dtype_totals(ckpt.values())
    parts = [
        f"{plural(t.tensors, 'tensor')} {t.dtype}: {compact(t.numel)} elements, {memory(t.nbytes)}"
        for t in totals
    ]
    return Text("\n").join([Text(""), *(Text(f"  {part}", style="bold") for part in parts)])
