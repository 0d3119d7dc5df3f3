"""A checkpoint as rows for people: tensors with numbered siblings together, totals, highlights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING

from torchgraft.report.quantities import plural
from torchgraft.report.ranges import collapse, grouped, ranged, ranged_shapes, sibling_keys, split_leaf
from torchgraft.report.safe_text import clean
from torchgraft.tensors import DTYPE_BITS

if TYPE_CHECKING:
    from torchgraft.tensors import TensorRef

__all__ = ["DtypeTotal", "TensorRow", "dtype_totals", "highlights", "tensor_rows"]

_MOST_HIGHLIGHTS = 12


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One tensor, or several numbered siblings: their names and shapes as ranges, their elements in total.

    `layout` says how their dimensions are ordered, where it is not PyTorch's way.
    """

    name: str
    shape: str
    dtype: str
    tensors: int
    numel: int
    layout: str = ""


@dataclass(frozen=True, slots=True)
class DtypeTotal:
    """All tensors of one dtype; tied ones count once in `nbytes`."""

    dtype: str
    tensors: int
    numel: int
    nbytes: int


def tensor_rows(refs: Iterable[TensorRef], *, all: bool = False) -> list[TensorRow]:  # noqa: A002
    """The tensors in file order, numbered siblings of one dtype together unless `all`."""
    if all:
        return [_row([ref]) for ref in refs]
    rows = list(refs)
    told_by: list[Sequence[Hashable]] = [
        sibling_keys(list(map(attrgetter("name"), rows))),
        list(map(len, map(attrgetter("shape"), rows))),
        list(map(attrgetter("dtype"), rows)),
        list(map(attrgetter("layout"), rows)),
    ]
    differing = [column for column in told_by if len(set(column)) > 1]
    siblings = grouped(rows, zip(*differing, strict=True)) if differing else [tuple(rows)] if rows else []
    if len(siblings) == 1:
        return [_row(siblings[0])]
    merged = collapse(
        siblings,
        lambda group: (tuple([split_leaf(ref.name)[0] for ref in group]), group[0].dtype, group[0].layout),
    )
    return [_row([ref for group in groups for ref in group]) for groups in merged]


def dtype_totals(refs: Iterable[TensorRef]) -> list[DtypeTotal]:
    """Totals by dtype, the largest first."""
    totals = []
    for group in collapse(list(refs), attrgetter("dtype")):
        dtype = group[0].dtype
        aliases = list(map(attrgetter("alias"), group))
        once: Iterable[TensorRef] = group
        if len(set(aliases)) < len(group):  # some are tied; those without an alias are not
            once = {
                ref.name if alias is None else alias: ref for ref, alias in zip(group, aliases, strict=True)
            }.values()
        nbytes = sum(prod(shape) * DTYPE_BITS[dtype] // 8 * many for shape, many in _shapes(once).items())
        totals.append(DtypeTotal(dtype, len(group), _numel(group), nbytes))
    return sorted(totals, key=lambda total: -total.nbytes)


def highlights(metadata: Mapping[str, object]) -> list[tuple[str, str]]:
    """The rest of the file in a few lines: plain values as they are, collections by their size."""
    shown = [(clean(key, limit=40), _summary(value)) for key, value in metadata.items()]
    if len(shown) > _MOST_HIGHLIGHTS:
        rest = len(shown) - _MOST_HIGHLIGHTS
        shown = [*shown[:_MOST_HIGHLIGHTS], ("…", f"{plural(rest, 'more entry', 'more entries')}")]
    return shown


def _row(refs: Sequence[TensorRef]) -> TensorRow:
    names = list(map(attrgetter("name"), refs))
    module, leaf = split_leaf(names[0])
    if module and all(map(str.endswith, names, repeat(f".{leaf}"))):
        shown = ranged(names)
    else:
        modules, leaves = zip(*map(split_leaf, names), strict=True)
        distinct = list(dict.fromkeys(leaves))
        leaf = distinct[0] if len(distinct) == 1 else "{" + ", ".join(distinct) + "}"
        shown = ranged(list(dict.fromkeys(modules))) + leaf
    return TensorRow(
        name=clean(shown),
        shape=ranged_shapes(list(_shapes(refs))),
        dtype=refs[0].dtype,
        tensors=len(refs),
        numel=_numel(refs),
        layout=clean(refs[0].layout),
    )


def _shapes(refs: Iterable[TensorRef]) -> Counter[tuple[int, ...]]:
    return Counter(map(attrgetter("shape"), refs))


def _numel(refs: Iterable[TensorRef]) -> int:
    return sum(prod(shape) * many for shape, many in _shapes(refs).items())


def _summary(value: object) -> str:
    if value is None or isinstance(value, (bool, int, float, str)):
        return clean(value, limit=100)
    if isinstance(value, Mapping):
        names = ", ".join(clean(key, limit=24) for key in list(value)[:4])
        return f"{plural(len(value), 'entry', 'entries')}: {names}{', …' if len(value) > 4 else ''}"
    if isinstance(value, Sequence):
        if len(value) <= 4 and all(isinstance(item, (bool, int, float, str)) for item in value):
            return ", ".join(clean(item, limit=40) for item in value) or "empty"
        return plural(len(value), "item")
    return clean(value, limit=100)
