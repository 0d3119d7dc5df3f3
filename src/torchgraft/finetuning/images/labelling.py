"""What a source says of each photo → labels of one kind, and the classes that they point into."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images, unnamed_numbers
from torchgraft.finetuning.images.masks import mask_classes
from torchgraft.finetuning.tasks import TASKS

__all__ = ["kind_of", "labelled"]


def labelled(
    items: Sequence[Any],
    labels: Sequence[Any],
    *,
    known: Sequence[str] | None,
    complete: bool,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Images:
    """Photos with their labels, which are class names or indices, several of them, numbers or masks.

    Args:
        items: The photos.
        labels: One each.
        known: The classes that indices stand for, where the data doesn't name them.
        complete: Whether the data holds every class; see `sources.parts_of`.
        task: What the labels are; `None`: see `kind_of`.
        classes: The data's own names: of the classes, or of the numbers.
        names: What to call each photo in a message.

    Raises:
        DataError: No photos, or labels that are not all of one kind.
    """
    if not items:
        raise DataError("no images", hint="give a folder, (images, labels) or a dataset that isn't empty")
    called = tuple(names) if names is not None else tuple(_name(item, i) for i, item in enumerate(items))
    kind = task or kind_of(labels)
    if classes is not None and kind != "regression":
        known, complete = classes, False
    images = Images(items, (), (), called)
    if kind == "classes":
        return _one_class(images, labels, classes, known, complete)
    if kind == "multi-label":
        return _several_classes(images, labels, classes, known, complete)
    if kind == "regression":
        return _numbers(images, labels, classes)
    if kind == "segmentation":
        masks = tuple(Path(label) if isinstance(label, str) else label for label in labels)
        return replace(images, labels=masks, classes=mask_classes(masks, called, known), task=kind)
    if kind in TASKS:
        raise DataError(
            f"plain labels can't be made those of the task {kind!r}", hint=f"give Images(…, task={kind!r})"
        )
    near = get_close_matches(kind, TASKS, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(f"there is no task {kind!r}", hint=f"{meant}tasks: {', '.join(TASKS)}")


def kind_of(labels: Sequence[Any]) -> str:
    """The task that labels are for, by what they look like.

    Names and whole numbers are classes. Numbers of which most are not whole are regression. A list of
    names or of whole numbers is several classes; so is an array, tensor or list of bools with a 0 or 1 for
    each class. Any other array of numbers is regression, and a picture or array of two dimensions a mask.
    """
    first = labels[0]
    dimensions = getattr(first, "ndim", None)
    if dimensions == 2 or hasattr(first, "getbands"):
        return "segmentation"
    if isinstance(first, (list, tuple, set, frozenset)) or dimensions == 1:
        rows = [_plain(label) for label in labels]
        values = [value for row in rows if isinstance(row, (list, tuple)) for value in row]
        return "regression" if _mostly_broken(values) else "multi-label"
    return "regression" if _mostly_broken([_plain(label) for label in labels]) else "classes"


def _one_class(
    images: Images,
    labels: Sequence[Any],
    own: Sequence[str] | None,
    known: Sequence[str] | None,
    complete: bool,
) -> Images:
    if all(isinstance(label, str) for label in labels):
        named = _named(labels, own)
        position = {name: index for index, name in enumerate(named)}
        return replace(images, labels=tuple(position[label] for label in labels), classes=named)
    indices = tuple(_index(label, at) for at, label in enumerate(labels))
    return replace(images, labels=indices, classes=_counted(indices, indices, known, complete))


def _several_classes(
    images: Images,
    labels: Sequence[Any],
    own: Sequence[str] | None,
    known: Sequence[str] | None,
    complete: bool,
) -> Images:
    rows = [_members(label, at) for at, label in enumerate(labels)]
    flat = [value for row in rows for value in row]
    if not flat:
        raise DataError("no image has a label", hint="give each image a list of its classes")
    if all(isinstance(value, str) for value in flat):
        named = _named(flat, own)
        position = {name: index for index, name in enumerate(named)}
        found = tuple(tuple(sorted({position[name] for name in row})) for row in rows)
        return replace(images, labels=found, classes=named, task="multi-label")
    indices = tuple(tuple(sorted({_index(value, at) for value in row})) for at, row in enumerate(rows))
    widest = [max(row, default=0) for row in indices]
    present = [value for row in indices for value in row]
    counted = _counted(present, widest, known, complete)
    return replace(images, labels=indices, classes=counted, task="multi-label")


def _members(label: Any, at: int) -> list[Any]:
    """The classes of one photo: a list of them, or a 0 or 1 for each class."""
    flags = getattr(label, "ndim", None) == 1
    row = _plain(label)
    if not isinstance(row, (list, tuple, set, frozenset)):
        return [row]
    values = list(row)
    if flags or (values and all(isinstance(value, bool) for value in values)):
        if any(value not in (0, 1) for value in values):
            raise DataError(f"{values!r} is not a 0 or 1 for each class", where=f"image {at}")
        return [index for index, value in enumerate(values) if value]
    return values


def _numbers(images: Images, labels: Sequence[Any], names: Sequence[str] | None) -> Images:
    rows = []
    for at, label in enumerate(labels):
        row = _plain(label)
        values = row if isinstance(row, (list, tuple)) else (row,)
        try:
            numbers = tuple(float(value) for value in values)
        except (TypeError, ValueError):
            numbers = ()
        if not numbers or not all(math.isfinite(number) for number in numbers):
            raise DataError(f"label {label!r} is not a finite number", where=images.names[at])
        rows.append(numbers)
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise DataError(f"images have {min(widths)} to {max(widths)} numbers; each must have as many")
    width = len(rows[0])
    if names is None or len(names) != width:
        names = unnamed_numbers(width)
    return replace(images, labels=tuple(rows), classes=tuple(names), task="regression")


def _named(labels: Iterable[str], own: Sequence[str] | None) -> tuple[str, ...]:
    """The data's own list of classes, or the names in the labels, sorted."""
    present = set(labels)
    if own is None:
        return tuple(sorted(present))
    unknown = sorted(present - set(own))
    if unknown:
        raise DataError(f"label {unknown[0]!r} is none of the {len(own)} classes", hint=", ".join(own[:10]))
    return tuple(own)


def _counted(
    present: Iterable[int], widest: Sequence[int], known: Sequence[str] | None, complete: bool
) -> tuple[str, ...]:
    """The classes that indices stand for."""
    found = set(present)
    count = max(found) + 1
    if known is not None and not complete and count > len(known):
        raise DataError(
            f"label {count - 1} is out of range: there are {len(known)} classes, counted from 0",
            where=f"image {list(widest).index(count - 1)}",
        )
    if known is not None and (len(known) == count or not complete):
        return tuple(str(name) for name in known)
    missing = next(index for index in range(count + 1) if index not in found)
    if missing != count:
        raise DataError(
            f"labels go up to {count - 1}, but none is {missing}",
            hint="number the classes from 0 without gaps, or give class names as labels",
        )
    return tuple(str(index) for index in range(count))


def _index(label: Any, at: int) -> int:
    try:
        index = int(label)
        whole = index == label
    except (TypeError, ValueError):
        whole = False
    if not whole or isinstance(label, str):
        raise DataError(
            f"label {label!r} is neither a class index nor, with all others, a name",
            where=f"image {at}",
            hint="numbers to be predicted as they are need task='regression'"
            if isinstance(label, float)
            else None,
        )
    if index < 0:
        raise DataError(f"label {index} is out of range", where=f"image {at}")
    return index


def _mostly_broken(values: Sequence[Any]) -> bool:
    """Whether all are numbers, and more than half of them not whole."""
    if not values or not all(isinstance(value, (int, float)) for value in values):
        return False
    broken = sum(1 for value in values if isinstance(value, float) and not value.is_integer())
    return broken * 2 > len(values)


def _plain(label: Any) -> Any:
    """Arrays, tensors and their scalars as Python's own."""
    return label.tolist() if hasattr(label, "tolist") else label


def _name(item: object, index: int) -> str:
    return Path(item).as_posix() if isinstance(item, (str, os.PathLike)) else f"image {index}"
