"""Models by name, on a terminal: a table of many, and all that is known of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.quantities import compact, memory, plural
from torchgraft.report.safe_text import clean
from torchgraft.report.terminal.long_table import Column, LongTable

if TYPE_CHECKING:
    from torchgraft.model_info import Preprocessing
    from torchgraft.zoo import PublishedModel, PublishedWeights

__all__ = ["model_view", "models_view"]

_UNKNOWN = "–"
_COLUMNS = (
    Column("model", folds=True),
    Column("params", right=True),
    Column("input", right=True),
    Column("classes", right=True),
    Column("accuracy", right=True),
    Column("file", right=True),
    Column("here"),
)
_SHOWN_LABELS = 5


def models_view(models: Sequence[PublishedModel]) -> RenderableType:
    """A line a model, with what its library says of its default weights; empty columns are left out."""
    if not models:
        return Text("no model has such a name")
    rows = [_row(model) for model in models]
    telling = [at for at, cells in enumerate(zip(*rows, strict=True)) if {*cells} - {_UNKNOWN, ""}]
    table = LongTable([_COLUMNS[at] for at in telling], [[row[at] for at in telling] for row in rows])
    note = f"{plural(len(models), 'model')}; figures of the default weights, as far as libraries state them"
    return Group(table, Text(note, style="dim"))


def _row(model: PublishedModel) -> tuple[str, ...]:
    first = model.weights[0] if model.weights else None
    if first is None:
        return (clean(model.name), *[_UNKNOWN] * 5, "")
    return (
        clean(model.name),
        compact(model.parameters) if model.parameters is not None else _UNKNOWN,
        _size(first.input_size),
        _UNKNOWN if first.classes is None else str(first.classes),
        _first_figure(first),
        memory(first.nbytes) if first.nbytes is not None else _UNKNOWN,
        "yes" if any(one.cached for one in model.weights) else "",
    )


def model_view(model: PublishedModel) -> RenderableType:
    """All that is known of a model: its size, and each of its published weights."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    count = model.parameters
    known = f"{count:,}" if count is not None else "it can't be told without building it for real"
    table.add_row("  parameters", Text(known))
    if not model.weights:
        table.add_row("  weights", Text("none are published"))
    for at, weights in enumerate(model.weights):
        table.add_row()
        table.add_row("  weights", Text(clean(weights.name), style="bold") + Text(" (default)" * (at == 0)))
        for title, text in _facts(weights):
            table.add_row(f"    {title}", Text(text))
    return Group(Text(clean(model.name), style="bold"), table)


def _facts(weights: PublishedWeights) -> Iterator[tuple[str, str]]:
    yield "classes", _classes(weights)
    yield "input", _input(weights)
    yield "accuracy", _accuracy(weights)
    yield "licence", clean(weights.licence) if weights.licence else "the library does not say"
    yield "file", memory(weights.nbytes) if weights.nbytes is not None else "of a size that is not published"
    if weights.hub is not None:
        revision = f" at {weights.revision}" if weights.revision else ""
        yield "from", clean(f"hf://{'/'.join(weights.hub)}{revision}")
    elif weights.url is not None:
        yield "from", clean(weights.url)
    yield "here", clean(str(weights.cached)) if weights.cached else "no: it is downloaded when it is used"
    if weights.origin:
        yield "origin", clean(weights.origin)


def _classes(weights: PublishedWeights) -> str:
    if weights.classes == 0:
        return "none: it gives features"
    names = [clean(label) for label in (weights.labels or ())[:_SHOWN_LABELS]]
    if weights.classes is None:
        return "the library does not say"
    if not names:
        return f"{weights.classes:,}, without names"
    return f"{weights.classes:,}: {', '.join(names)}{', …' if weights.classes > len(names) else ''}"


def _input(weights: PublishedWeights) -> str:
    how = weights.preprocessing
    size = " × ".join(map(str, weights.input_size)) if weights.input_size else "of any size"
    return f"{size}{_prepared(how) if how is not None else ''}"


def _prepared(how: Preprocessing) -> str:
    mean, std = (" ".join(f"{one:.4g}" for one in values) for values in (how.mean, how.std))
    side = int(how.size[0] / how.crop)
    kept = "both sides" if how.squash else "the shorter side"
    return f"; {kept} resized to {side} ({how.interpolation}), mean {mean}, std {std}"


def _accuracy(weights: PublishedWeights) -> str:
    if not weights.metrics:
        return "the library does not say"
    return "; ".join(
        f"{clean(data)}: {', '.join(f'{clean(name)} {value:g}' for name, value in figures.items())}"
        for data, figures in weights.metrics.items()
    )


def _first_figure(weights: PublishedWeights) -> str:
    """The first of the first data set, which is what papers compare, with its name where it is not acc@1."""
    for figures in weights.metrics.values():
        for name, value in figures.items():
            return f"{value:.2f}" if name == "acc@1" else f"{clean(name)} {value:g}"
    return _UNKNOWN


def _size(size: Sequence[int] | None) -> str:
    return "×".join(map(str, size[1:])) if size else _UNKNOWN
