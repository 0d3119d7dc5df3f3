"""Many tensors to explore: a map of the modules, a table, details. The page's script draws them."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torchgraft.report.ranges import collapse, grouped, ranged, ranged_shapes, sibling_keys, split_leaf
from torchgraft.report.safe_text import clean

__all__ = ["SCRIPTS", "STYLES", "Column", "Plot", "State", "View", "explorer_data", "shape_text"]

SCRIPTS = ("items.js", "treemap.js", "table.js", "explorer.js")
STYLES = ("explorer.css",)

Kind: TypeAlias = Literal["text", "word", "key", "shape", "count", "bytes", "number", "share"]

"""`word` is a short text, `key` a name; `share` is shown in percent."""

_ASTRAL = 0x10000
_HEIGHT = 35  # of a histogram's bar: one digit of base 36
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class State:
    """What a tensor can be: `key` names its colour and pattern in the style sheet."""

    key: str
    word: str
    symbol: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """One way to colour the tensors: `at` says for each which of the states it is in."""

    title: str
    states: Sequence[State]
    at: Sequence[int]


@dataclass(frozen=True, slots=True)
class Column:
    """One fact of each tensor.

    Attributes:
        title: What it is called.
        kind: How it is shown.
        values: One a tensor; `None` where there is nothing to say.
        table: Whether it is a column of the table, or shown among a tensor's details only.
        narrow: Whether it stays in the table on a phone.
        search: Whether the search looks there too.
    """

    title: str
    kind: Kind
    values: Sequence[object]
    table: bool = True
    narrow: bool = False
    search: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A histogram of some tensors, by their numbers: the ends, and a count a bar."""

    title: str
    at: Mapping[int, tuple[float, float, Sequence[int]]]


def explorer_data(
    title: str,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    sizes: Sequence[int],
    views: Sequence[View],
    columns: Sequence[Column],
    *,
    plots: Sequence[Plot] = (),
    roots: tuple[Sequence[str], Sequence[int]] | None = None,
) -> Mapping[str, object]:
    """What the page's script needs, small enough for 100,000 tensors.

    Args:
        title: What all tensors together are called.
        names: Their names.
        shapes: Their shapes.
        sizes: How many elements each has.
        views: Ways to colour them; by the first of them numbered siblings are put together.
        columns: What else is known of them.
        plots: Histograms.
        roots: Where they are of several places: the places' names, and where each is from.
    """
    names = [clean(name) for name in names]
    return {
        "title": clean(title, limit=80),
        "names": list(_front_coded(names)),
        "sizes": list(sizes),
        "views": [
            {"title": view.title, "states": [_plain(state) for state in view.states], "at": list(view.at)}
            for view in views
        ],
        "columns": [_column(column) for column in columns],
        "groups": _groups(names, shapes, views[0].at, roots[1] if roots else None),
        "plots": [
            {
                "title": plot.title,
                "at": {
                    str(i): [_rounded(low), _rounded(high), _bars(n)] for i, (low, high, n) in plot.at.items()
                },
            }
            for plot in plots
        ],
        "roots": None
        if roots is None
        else {"names": [clean(r, limit=80) for r in roots[0]], "at": list(roots[1])},
    }


def shape_text(shape: Sequence[int] | None) -> str:
    """`[64, 3, 7, 7]`; empty for none."""
    return "" if shape is None else f"[{', '.join(map(str, shape))}]"


def _plain(state: State) -> Mapping[str, str]:
    return {"key": state.key, "word": state.word, "symbol": state.symbol, "meaning": state.meaning}


def _column(column: Column) -> Mapping[str, object]:
    """The distinct values, and which of them each tensor has."""
    pool: dict[object, int] = {}
    at = [pool.setdefault(value, len(pool)) for value in column.values]
    shown = [clean(value, limit=400) if isinstance(value, str) else _rounded(value) for value in pool]
    flags = {"table": column.table, "narrow": column.narrow, "search": column.search}
    return {"title": column.title, "kind": column.kind, "pool": shown, "at": at, **flags}


def _rounded(value: object) -> object:
    """A number with the digits that are shown, and one more."""
    return float(f"{value:.5g}") if isinstance(value, float) and math.isfinite(value) else value


def _front_coded(names: Iterable[str]) -> Iterable[int | str]:
    """How many first letters each shares with the one before it, and the rest of it, in turn."""
    before = ""
    for name in names:
        shared = len(os.path.commonprefix([before, name]))  # noqa: RUF071 (letter by letter)
        if not name.isascii() and any(ord(char) >= _ASTRAL for char in name[:shared]):
            shared = 0  # JavaScript counts such a letter as two
        yield shared
        yield name[shared:]
        before = name


def _groups(
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    states: Sequence[int],
    roots: Sequence[int] | None,
) -> list[Mapping[str, object]]:
    """Numbered siblings of the same state together, and the leaves of one module."""
    places: Sequence[Hashable] = roots if roots is not None else [0] * len(names)
    keys = zip(sibling_keys(names), states, map(len, shapes), places, strict=True)
    siblings = grouped(range(len(names)), keys)
    merged = collapse(siblings, lambda group: _module_key(group, names, states[group[0]], places[group[0]]))
    return [_group([i for group in groups for i in group], names, shapes) for groups in merged]


def _module_key(members: Sequence[int], names: Sequence[str], state: int, place: Hashable) -> Hashable:
    """Leaves of the same modules share it; tensors that are in no module stay apart."""
    modules = tuple([split_leaf(names[i])[0] for i in members])
    return (modules, state, place) if any(modules) else members[0]


def _group(
    members: list[int], names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> Mapping[str, object]:
    label = names[members[0]]
    if len(members) > 1:
        modules, leaves = zip(*(split_leaf(names[i]) for i in members), strict=True)
        distinct = list(dict.fromkeys(leaves))
        leaf = distinct[0] if len(distinct) == 1 else "{" + ", ".join(distinct) + "}"
        label = clean(ranged(list(dict.fromkeys(modules))) + leaf)
    shape = ranged_shapes(list(dict.fromkeys(shapes[i] for i in members)))
    return {"label": label, "shape": shape, "items": members}


def _bars(counts: Sequence[int]) -> str:
    """Bars in proportion, a letter each; what there is of is never nothing."""
    most = max(counts, default=0) or 1
    return "".join(_DIGITS[-(-n * _HEIGHT // most)] for n in counts)
