"""A plan on a terminal: what it comes to, every tensor with its fate and the reason, the gate's verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.plan_rows import Row, source_rows, target_rows
from torchgraft.report.quantities import compact, percent, plural
from torchgraft.report.safe_text import clean
from torchgraft.report.statuses import STATUSES, gate_advice, status_of

if TYPE_CHECKING:
    from torchgraft.planning import Plan

__all__ = ["plan_view"]

_WIDE = 110  # columns: from here on the source and the reason have columns of their own
_BAR = 40


def plan_view(plan: Plan, *, all: bool = False) -> RenderableType:  # noqa: A002 (the public word for it)
    """The plan as a renderable for a rich console.

    Args:
        plan: What to show.
        all: Show every tensor on a line of its own instead of collapsing numbered siblings.
    """
    return _PlanView(plan, all)


@dataclass(frozen=True, slots=True)
class _PlanView:
    plan: Plan
    all: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        plan = self.plan
        yield Text.assemble((clean(plan.model), "bold"), " ← ", (clean(plan.checkpoint), "bold"))
        yield Text(f"names: {clean(plan.match, limit=2000)}", style="dim")
        yield ""
        yield _bar(plan)
        yield _counts(plan)
        yield ""
        rows = target_rows(plan, all=self.all)
        common = _common_why(rows)
        yield _table(rows, common, wide=options.max_width >= _WIDE)
        if common:
            yield Text(f"✓ without a remark: {common}", style="dim")
        if unused := source_rows(plan, all=self.all):
            yield ""
            yield Text("In the checkpoint, but not used", style="bold")
            yield _table(unused, None, wide=options.max_width >= _WIDE)
        for note in plan.notes:
            yield Text(f"note: {clean(note, limit=2000)}", style="dim")
        for doubt in plan.doubts:
            yield Text(f"doubt: {clean(doubt, limit=2000)}", style="yellow")
        yield ""
        verdict, advice = gate_advice(plan)
        yield Text(f"{'✗' if advice else '✓'} {verdict}", style="bold red" if advice else "bold green")
        if advice:
            yield Text(f"→ {advice}")


def _bar(plan: Plan) -> Text:
    """The model's elements by status, as a bar; no share that exists is too small to be seen."""
    numel = dict.fromkeys(("loaded", "adapted", "fresh", "undeclared"), 0)
    for entry in plan.targets:
        numel[status_of(entry).key] += entry.numel
    total = sum(numel.values())
    bar = Text()
    cells = {key: max(1, round(_BAR * n / total)) for key, n in numel.items() if n}
    if cells:
        cells[max(cells, key=cells.__getitem__)] += _BAR - sum(cells.values())
    for key, width in cells.items():
        bar.append(STATUSES[key].fill * width, style=STATUSES[key].style)
    return bar + Text(f"  {percent(plan.coverage)} of {compact(total)} elements come from the checkpoint")


def _counts(plan: Plan) -> Text:
    counts = plan.counts
    undeclared = len(plan.undeclared)
    shown = {
        "loaded": counts["loaded"],
        "adapted": counts["adapted"],
        "fresh": counts["fresh"] - undeclared,
        "undeclared": undeclared,
    }
    line = Text(f"{plural(len(plan.targets), 'tensor')}: ")
    parts = [
        Text(
            f"{STATUSES[key].symbol} {n:,} {'fresh, undeclared' if key == 'undeclared' else key}",
            STATUSES[key].style,
        )
        for key, n in shown.items()
        if n or key == "loaded"
    ]
    line.append_text(Text(" · ").join(parts))
    return line.append(f"    checkpoint: {counts['used']:,} used, {counts['unused']:,} unused")


def _table(rows: Sequence[Row], common: str | None, *, wide: bool) -> Table:
    return _wide_table(rows, common) if wide else _narrow_table(rows, common)


def _wide_table(rows: Sequence[Row], common: str | None) -> Table:
    renamed = any(row.source and row.source != row.name for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("tensor", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("shape", overflow="fold")
    if renamed:
        table.add_column("from", overflow="fold")
    table.add_column("what and why", overflow="fold")
    for row in rows:
        source = [Text("〃" if row.source == row.name else row.source)] if renamed else []
        table.add_row(*_fate_and_name(row), _tensors(row), Text(row.shape), *source, _remark(row, common))
    return table


def _narrow_table(rows: Sequence[Row], common: str | None) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        fate, name = _fate_and_name(row)
        head = [part for part in (name, _tensors(row), Text(row.shape)) if part]
        below = [Text(f"← {row.source}", "dim")] if row.source and row.source != row.name else []
        remark = _remark(row, common)
        lines = [Text("  ").join(head), *below, *([remark] if remark else [])]
        table.add_row(fate, Text("\n").join(lines))
    return table


def _fate_and_name(row: Row) -> tuple[Text, Text]:
    status = row.status
    return (
        Text(f"{status.symbol} {status.word}", style=status.style),
        Text(row.name, style=status.style if status.key == "undeclared" else ""),
    )


def _tensors(row: Row) -> Text:
    return Text(f"×{row.tensors}" if row.tensors > 1 else "", style="dim")


def _remark(row: Row, common: str | None) -> Text:
    why = "" if row.why == common and row.status.key == "loaded" else row.why
    remark = Text().append(row.done, style=row.status.style)  # a style of the whole would colour `why` too
    if row.done and why:
        remark.append(" · ", style="dim")
    return remark.append(why)


def _common_why(rows: Sequence[Row]) -> str | None:
    """The one reason that all loaded tensors share, which need not be said on every line."""
    whys = {row.why for row in rows if row.status.key == "loaded"}
    common = whys.pop() if len(whys) == 1 and len(rows) > 1 else None
    return None if common is None or "{" in common else common  # a range belongs beside its names
