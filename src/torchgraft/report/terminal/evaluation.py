"""How well a model does, on a terminal: the metrics, what is confused, and the classes one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.confusions import Confusions
from torchgraft.report.quantities import percent, plural
from torchgraft.report.safe_text import clean
from torchgraft.report.terminal.history import metric_text

__all__ = ["evaluation_view", "mistakes_view", "parts_view"]

_MOST_CLASSES = 12
_MOST_PARTS = 40


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


def parts_view(parts: Sequence[Mapping[str, object]], *, kind: str = "class") -> RenderableType:
    """Each class's, or each number's, own measures; of more than 40 the 40 lowest by the first of them.

    Args:
        parts: `name` and measures, the same for all; `None` where one isn't defined.
        kind: What each is.
    """
    columns = [name for name in (parts[0] if parts else {}) if name != "name"]
    shown = list(parts)
    if len(parts) > _MOST_PARTS:
        first = columns[0]
        shown = sorted(parts, key=lambda part: _number(part[first], missing=float("inf")))[:_MOST_PARTS]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(
        f"  {kind}" if shown == list(parts) else f"  lowest {len(shown)} of {len(parts):,}", overflow="fold"
    )
    for column in columns:
        table.add_column(Text(clean(column).replace("_", " ")), justify="right")
    for part in shown:
        cells = [Text(_cell(part[column])) for column in columns]
        table.add_row(Text(f"  {clean(part['name'], limit=60)}"), *cells)
    return table


def mistakes_view(mistakes: Sequence[Mapping[str, object]]) -> RenderableType:
    """The images that a model is most wrong about: `name`, `truth`, `guess`, `probability`, `loss` each."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    known = [name for name in ("truth", "guess", "probability") if any(one[name] for one in mistakes)]
    headings = {"truth": "true", "guess": "answer", "probability": "probability"}
    table.add_column("  worst answers", overflow="fold")
    for name in known:
        table.add_column(
            headings[name],
            overflow="fold",
            justify="right" if name == "probability" else "left",
            no_wrap=name == "probability",
        )
    table.add_column("loss", justify="right", no_wrap=True)
    for one in mistakes:
        cells = [
            percent(value) if isinstance(value := one[name], float) else clean(value or "", limit=100)
            for name in known
        ]
        table.add_row(
            Text(f"  {clean(one['name'])}"), *(Text(cell) for cell in cells), Text(_cell(one["loss"]))
        )
    return table


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else "–"


def _number(value: object, *, missing: float) -> float:
    return float(value) if isinstance(value, (int, float)) else missing
