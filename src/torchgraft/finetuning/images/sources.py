"""Whatever a user calls data → its parts as `Images`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torchgraft.errors import DataError
from torchgraft.finetuning.images.folders import folder_parts
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.reading import DatasetEntry

if TYPE_CHECKING:
    from torch.utils.data import Dataset

__all__ = ["Data", "parts_of"]

Data: TypeAlias = "str | os.PathLike[str] | tuple[Sequence[Any], Sequence[Any]] | Dataset[Any] | Images"
"""A folder, `(images, labels)`, a map-style PyTorch dataset of (image, label), or `image_folder(…)`."""


def parts_of(data: Data, *, known: Sequence[str] | None = None, complete: bool = True) -> dict[str, Images]:
    """`{"all": …}`, or the parts that a folder is split into.

    Args:
        data: See `Data`. Labels are class names or, counted from 0, class indices.
        known: The classes that indices stand for, where the data doesn't name them.
        complete: Whether the data holds every class, as training data must. If it does, `known`
            counts only when there are as many classes in the data; if not, indices must lie in it.

    Raises:
        DataError: It is none of these; lengths differ; labels are out of range.
    """
    if isinstance(data, Images):
        return {"all": data}
    if isinstance(data, (str, os.PathLike)):
        return folder_parts(data)
    if isinstance(data, tuple) and len(data) == 2:
        return {"all": _from_memory(data[0], data[1], known, complete)}
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return {"all": _from_dataset(data, known, complete)}
    raise DataError(
        f"a {type(data).__name__} is not data to learn from",
        hint="give a folder with one subfolder per class, (images, labels), or a torch Dataset with a length",
    )


def _from_memory(
    images: Sequence[Any], labels: Sequence[Any], known: Sequence[str] | None, complete: bool
) -> Images:
    if len(images) != len(labels):
        raise DataError(f"{len(images)} images, but {len(labels)} labels")
    return _labelled(list(images), list(labels), known, complete)


def _from_dataset(data: Any, known: Sequence[str] | None, complete: bool) -> Images:
    """Labels come from `.targets`, torchvision's word for them, or else from one pass over the dataset."""
    targets = getattr(data, "targets", None)
    if targets is None:
        targets = [_label_at(data, index) for index in range(len(data))]
    elif len(targets) != len(data):
        raise DataError(f"the dataset has {len(data)} entries, but {len(targets)} targets")
    entries = [DatasetEntry(data, index) for index in range(len(data))]
    own = getattr(data, "classes", None)
    if own is not None:
        return _labelled(entries, list(targets), list(own), complete=False)
    return _labelled(entries, list(targets), known, complete)


def _label_at(data: Any, index: int) -> object:
    entry = data[index]
    if not isinstance(entry, (tuple, list)) or len(entry) != 2:
        raise DataError("the dataset must give (image, label)", where=f"entry {index}")
    return entry[1]


def _labelled(items: list[Any], labels: list[Any], known: Sequence[str] | None, complete: bool) -> Images:
    if not items:
        raise DataError("no images", hint="give a folder, (images, labels) or a dataset that isn't empty")
    names = tuple(
        Path(item).as_posix() if isinstance(item, (str, os.PathLike)) else f"image {index}"
        for index, item in enumerate(items)
    )
    if all(isinstance(label, str) for label in labels):
        classes = tuple(sorted(set(labels)))
        position = {name: index for index, name in enumerate(classes)}
        return Images(items, tuple(position[label] for label in labels), classes, names)
    indices = _indices(labels)
    return Images(items, indices, _classes(indices, known, complete), names)


def _classes(indices: tuple[int, ...], known: Sequence[str] | None, complete: bool) -> tuple[str, ...]:
    count = max(indices) + 1
    if known is not None and not complete and count > len(known):
        raise DataError(
            f"label {count - 1} is out of range: there are {len(known)} classes, counted from 0",
            where=f"image {indices.index(count - 1)}",
        )
    if known is not None and (len(known) == count or not complete):
        return tuple(str(name) for name in known)
    present = set(indices)
    missing = next(index for index in range(count + 1) if index not in present)
    if missing != count:
        raise DataError(
            f"labels go up to {count - 1}, but none is {missing}",
            hint="number the classes from 0 without gaps, or give class names as labels",
        )
    return tuple(str(index) for index in range(count))


def _indices(labels: Iterable[Any]) -> tuple[int, ...]:
    indices = []
    for position, label in enumerate(labels):
        try:
            index = int(label)
            whole = index == label
        except (TypeError, ValueError):
            whole = False
        if not whole or isinstance(label, str):
            raise DataError(
                f"label {label!r} is neither a class index nor, with all others, a name",
                where=f"image {position}",
            )
        if index < 0:
            raise DataError(f"label {index} is out of range", where=f"image {position}")
        indices.append(index)
    return tuple(indices)
