"""The table of what learns how fast, shown before training begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.finetuning.group_table import GroupRow

__all__ = ["DryRunError", "groups_view"]


class DryRunError(Exception):
    """Ends a run before it trains anything; `groups` is what it would have trained."""

    def __init__(self, groups: Sequence[GroupRow]) -> None:
        super().__init__("a dry run ends here")
        self.groups = tuple(groups)


def groups_view(groups: Sequence[GroupRow]) -> RenderableType:
    """A line a group: how many parameters, at which learning rate."""
    phases = any(group.phase for group in groups)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in (*(["phase"] if phases else []), "group"):
        table.add_column(heading)
    for heading in ("tensors", "parameters", "learning rate", "weight decay"):
        table.add_column(heading, justify="right")
    for group in groups:
        names = [group.phase, group.name] if phases else [group.name]
        numbers = (f"{group.tensors:,}", f"{group.parameters:,}")
        rates = (_rate(group.lr, frozen=group.frozen), _rate(group.weight_decay, frozen=group.frozen))
        cells = [Text(clean(cell), "dim" if group.frozen else "") for cell in (*names, *numbers, *rates)]
        table.add_row(*cells)
    return table


def _rate(value: float | None, *, frozen: bool) -> str:
    if value is None:
        return "" if frozen else "-"
    return f"{value:.3g}"
