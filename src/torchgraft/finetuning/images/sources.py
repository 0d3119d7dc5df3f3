"""Whatever a user calls data → its parts as `Images`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torchgraft.errors import DataError
from torchgraft.finetuning.images.folders import folder_parts
from torchgraft.finetuning.images.hub_datasets import hub_parts, is_hub_dataset, opened, saved_by_hub
from torchgraft.finetuning.images.image_data import ImageData, told_of
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.labelling import kind_of, labelled
from torchgraft.finetuning.images.mask_folders import has_masks, mask_folder_parts
from torchgraft.finetuning.images.parts import with_groups
from torchgraft.finetuning.images.reading import DatasetEntry
from torchgraft.finetuning.images.streams import held_in_memory
from torchgraft.finetuning.images.tables import TABLE_SUFFIXES, table_parts

if TYPE_CHECKING:
    from torch.utils.data import Dataset

__all__ = ["Data", "parts_of"]

Data: TypeAlias = (
    "str | os.PathLike[str] | tuple[Sequence[Any], Sequence[Any]] | Dataset[Any] | Iterable[Any] | Images "
    "| ImageData"
)
"""A folder or table, `(images, labels)`, a dataset or iterable of (image, label), `ImageData(…)` or a JSON
file of its attributes."""


def parts_of(
    data: Data, *, known: Sequence[str] | None = None, complete: bool = True, task: str | None = None
) -> dict[str, Images]:
    """`{"all": …}`, or the parts that the data is split into.

    Args:
        data: See `Data`. Labels are class names or, counted from 0, class indices; several of them, numbers
            or masks for other tasks.
        known: The classes that indices stand for, where the data doesn't name them.
        complete: Whether the data holds every class, as training data must. If it does, `known`
            counts only when there are as many classes in the data; if not, indices must lie in it.
        task: What the labels are; `None`: by their looks.

    Raises:
        DataError: It is none of these; lengths differ; labels are out of range.
    """
    told = told_of(data)
    if isinstance(told.source, ImageData):
        raise DataError("ImageData can't be the source of ImageData")
    if told.task is not None and task is not None and told.task != task:
        raise DataError(f"the data is for the task {told.task!r}, not {task!r}")
    told = replace(told, task=told.task or task)
    parts = _parts(told, known, complete)
    kinds = {part.task for part in parts.values()}
    if told.task is not None and kinds != {told.task}:
        raise DataError(f"the data is for the task {', '.join(kinds)}, not {told.task!r}")
    if told.groups is None:
        return parts
    if set(parts) != {"all"}:
        raise DataError("groups are for data to be split, and this is split already")
    return {"all": with_groups(parts["all"], told.groups)}


def _parts(told: ImageData, known: Sequence[str] | None, complete: bool) -> dict[str, Images]:
    data = told.source
    how: dict[str, Any] = {"known": known, "complete": complete}
    named: dict[str, Any] = {**how, "task": told.task, "classes": told.classes}
    if isinstance(data, Images):
        return {"all": data}
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        if path.suffix.lower() in TABLE_SUFFIXES and not path.is_dir():
            return table_parts(path, **named, columns=told.columns, root=told.root)
        if not path.is_dir() or told.task not in (None, "segmentation"):
            return folder_parts(path)
        if saved_by_hub(path):
            return hub_parts(opened(path), **named, columns=told.columns)
        return mask_folder_parts(path, **how, classes=told.classes) if has_masks(path) else folder_parts(path)
    if is_hub_dataset(data):
        return hub_parts(data, **named, columns=told.columns)
    if isinstance(data, tuple) and len(data) == 2:
        if len(data[0]) != len(data[1]):
            raise DataError(f"{len(data[0])} images, but {len(data[1])} labels")
        return {"all": labelled(list(data[0]), list(data[1]), **named)}
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return {"all": _from_dataset(data, named)}
    if hasattr(data, "__iter__"):
        images, labels = held_in_memory(data, what="stream of images")
        return {"all": labelled(images, labels, **named)}
    raise DataError(
        f"a {type(data).__name__} is not data to learn from",
        hint="give a folder with one subfolder per class, a CSV file, (images, labels), or a dataset or "
        "iterable of (image, label)",
    )


def _from_dataset(data: Any, named: dict[str, Any]) -> Images:
    """Labels come from `.targets`, torchvision's word for them, or else from one pass over the dataset."""
    targets = getattr(data, "targets", None)
    if targets is None:
        masks = len(data) > 0 and (named["task"] or kind_of([_label_at(data, 0)])) == "segmentation"
        named = {**named, "task": "segmentation" if masks else named["task"]}
        targets = [
            DatasetEntry(data, index, 1) if masks else _label_at(data, index) for index in range(len(data))
        ]
    elif len(targets) != len(data):
        raise DataError(f"the dataset has {len(data)} entries, but {len(targets)} targets")
    entries = [DatasetEntry(data, index) for index in range(len(data))]
    own = getattr(data, "classes", None)
    if own is not None and named["classes"] is None:
        named = {**named, "classes": [str(name) for name in own]}
    return labelled(entries, list(targets), **named)


def _label_at(data: Any, index: int) -> object:
    entry = data[index]
    if not isinstance(entry, (tuple, list)) or len(entry) != 2:
        raise DataError("the dataset must give (image, label)", where=f"entry {index}")
    return entry[1]
