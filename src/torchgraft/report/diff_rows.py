"""A comparison as rows for people: siblings that differ alike on one line, what is missing first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.report.ranges import collapse, ranged, ranged_shapes, sibling_key, split_leaf
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.comparing import Diff, TensorDiff, ValueDiff

__all__ = ["DiffRow", "diff_rows"]

_ORDER = ("only in a", "only in b", "shape", "dtype", "layout", "values", "bits", "same")


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One name, or several numbered siblings that differ alike.

    Attributes:
        what: The first of their differences, or `"same"`.
        name: Their names, with ranges such as `{0...15}` and leaves such as `{weight, bias}`.
        tensors: How many there are.
        shapes: Their shapes in the first checkpoint and in the second.
        details: What differs, in words.
    """

    what: str
    name: str
    tensors: int
    shapes: str
    details: str


def diff_rows(diff: Diff, *, all: bool = False) -> list[DiffRow]:  # noqa: A002 (the public word for it)
    """The names that differ, by what they differ in; with `all` also those that don't, each on its line."""
    shown = sorted(
        (tensor for tensor in diff.tensors if all or tensor.differences),
        key=lambda tensor: _ORDER.index(_first(tensor)),
    )
    if all:
        return [_row([tensor]) for tensor in shown]
    siblings = collapse(shown, lambda tensor: (_fate(tensor), sibling_key(tensor.name)))
    modules = collapse(
        siblings, lambda group: (_fate(group[0]), tuple(split_leaf(tensor.name)[0] for tensor in group))
    )
    return [_row([tensor for group in groups for tensor in group]) for groups in modules]


def _first(tensor: TensorDiff) -> str:
    return next(iter(tensor.differences), "same")


def _fate(tensor: TensorDiff) -> tuple[object, ...]:
    return (tensor.differences, tensor.dtypes, tensor.layouts, *(len(shape or ()) for shape in tensor.shapes))


def _row(group: Sequence[TensorDiff]) -> DiffRow:
    modules, leaves = zip(*(split_leaf(tensor.name) for tensor in group), strict=True)
    distinct = list(dict.fromkeys(leaves))
    leaf = distinct[0] if len(distinct) == 1 else "{" + ", ".join(distinct) + "}"
    return DiffRow(
        what=_first(group[0]),
        name=clean(ranged(list(dict.fromkeys(modules))) + leaf),
        tensors=len(group),
        shapes=_shapes(group),
        details=_details(group),
    )


def _shapes(group: Sequence[TensorDiff]) -> str:
    sides = [
        ranged_shapes([shape for tensor in group if (shape := tensor.shapes[side]) is not None])
        for side in (0, 1)
    ]
    known = list(dict.fromkeys(side for side in sides if side))
    return " | ".join(known)


def _details(group: Sequence[TensorDiff]) -> str:
    first = group[0]
    parts = []
    if None in first.dtypes:
        parts.append(first.dtypes[0] or first.dtypes[1] or "")
    elif "dtype" in first.differences:
        parts.append(" | ".join(str(dtype) for dtype in first.dtypes))
    if "layout" in first.differences:
        parts.append("layout " + " | ".join(layout or "PyTorch's" for layout in first.layouts))
    if found := [tensor.values for tensor in group if tensor.values is not None]:
        parts.append(_values(found, sum(math.prod(tensor.shapes[0] or ()) for tensor in group)))
    return clean(" · ".join(part for part in parts if part))


def _values(found: Sequence[ValueDiff], numel: int) -> str:
    differing, only_nan = sum(each.differing for each in found), sum(each.only_nan for each in found)
    if all(each.identical for each in found):
        return "the same bit for bit"
    if not differing:
        return "the same values"
    most, relative = max(each.max_abs for each in found), max(each.max_rel for each in found)
    nan = f", {only_nan:,} NaN in one only" if only_nan else ""
    return f"{differing:,} of {numel:,} values, by up to {most:.3g} ({relative:.3g} relative){nan}"
