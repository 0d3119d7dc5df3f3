"""How well a model does, on a terminal: the metrics and, for few classes, the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.confusions import Confusions
from torchgraft.report.quantities import percent, plural
from torchgraft.report.safe_text import clean
from torchgraft.report.terminal.history import metric_text

__all__ = ["evaluation_view"]

_MOST_CLASSES = 12


def evaluation_view(
    metrics: Mapping[str, float], *, labels: Sequence[str] = (), confusion: Sequence[Sequence[int]] = ()
) -> RenderableType:
    """Metrics as a table and the confusion matrix below it.

    Args:
        metrics: Name and value; accuracies, which are shares of 0 to 1, are shown in percent.
        labels: Class names, in the order of the matrix.
        confusion: Counts, one row a true class, one column a predicted class. For more than 12 classes
            the pairs that are most often confused are shown instead.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in metrics.items():
        table.add_row(
            Text(f"  {clean(name).replace('_', ' ')}"), Text(metric_text(name, value), style="bold")
        )
    if not confusion:
        return table
    counted = Confusions.of(labels, confusion)
    below = _matrix(counted) if len(counted.labels) <= _MOST_CLASSES else _worst(counted)
    return Group(table, Text(""), below)


def _matrix(counted: Confusions) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  true ↓  predicted →", overflow="fold")
    for label in counted.labels:
        table.add_column(Text(label), justify="right", overflow="fold")
    table.add_column("right", justify="right")
    for i, row in enumerate(counted.counts):
        cells = [
            Text(f"{n:,}", style="bold green" if i == j else "" if n else "dim") for j, n in enumerate(row)
        ]
        table.add_row(Text(f"  {counted.labels[i]}"), *cells, Text(percent(counted.share(i, i))))
    return table


def _worst(counted: Confusions) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  most confused: true", overflow="fold")
    table.add_column("taken for", overflow="fold")
    table.add_column("", justify="right")
    for i, j in counted.worst(10):
        n = counted.counts[i][j]
        share = f"{plural(n, 'time')} of {sum(counted.counts[i]):,}"
        table.add_row(Text(f"  {counted.labels[i]}"), Text(counted.labels[j]), Text(share))
    return table
