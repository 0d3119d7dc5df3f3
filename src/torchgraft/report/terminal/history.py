"""A training run on a terminal: one line an epoch, the best one marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.quantities import percent
from torchgraft.report.safe_text import clean

__all__ = ["history_view", "metric_text"]


def history_view(
    epochs: Sequence[Mapping[str, float | int | None]], *, best: int | None = None
) -> RenderableType:
    """The epochs as a table.

    Args:
        epochs: One mapping an epoch, in order; its keys become columns. Losses are shown as they are,
            accuracies in percent.
        best: Which epoch's weights were kept, by its position from 0.
    """
    columns = list(dict.fromkeys(key for epoch in epochs for key in epoch))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for column in columns:
        table.add_column(Text(clean(column).replace("_", " ")), justify="right")
    for i, epoch in enumerate(epochs):
        kept = i == best
        cells = [Text(metric_text(column, epoch.get(column)), "bold" if kept else "") for column in columns]
        table.add_row(Text("▸" if kept else " ", style="green"), *cells)
    return table


def metric_text(name: str, value: float | int | None) -> str:
    """A metric's value as people read it, judged by its name: accuracies in percent, the rest as numbers."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if "accuracy" in name:
        return percent(value)
    if name == "lr":
        return f"{value:.2g}"
    return f"{value:.1f}" if name == "seconds" else f"{value:.4f}"
