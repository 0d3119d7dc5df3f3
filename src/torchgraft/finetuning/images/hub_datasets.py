"""Datasets of the Hugging Face library `datasets`, in memory, on disk or as a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchgraft.errors import DataError
from torchgraft.finetuning.images.columns import USUAL, Columns, columns_of
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.labelling import labelled
from torchgraft.finetuning.images.parts import by_part, part_named
from torchgraft.finetuning.images.reading import DatasetEntry
from torchgraft.finetuning.images.streams import held_in_memory
from torchgraft.finetuning.requirements import require

__all__ = ["hub_parts", "is_hub_dataset", "opened", "saved_by_hub"]


def is_hub_dataset(data: object) -> bool:
    """Whether it is a Dataset, DatasetDict, IterableDataset or IterableDatasetDict; imports nothing."""
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(data).__mro__)


def saved_by_hub(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def opened(folder: Path) -> Any:
    """What `save_to_disk` wrote; it is mapped, not read."""
    require("datasets")
    from datasets import load_from_disk

    try:
        return load_from_disk(str(folder))
    except Exception as error:
        raise DataError(f"the dataset can't be read ({error})", where=str(folder)) from error


def hub_parts(
    data: Any,
    *,
    known: Sequence[str] | None = None,
    complete: bool = True,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
) -> dict[str, Images]:
    """`{"all": …}`, or the parts of a DatasetDict. Images stay encoded until they are needed.

    Raises:
        DataError: No column holds images, or none labels; a part has another name.
    """
    told: dict[str, Any] = {"task": task, "classes": classes, "columns": columns}
    if not isinstance(data, Mapping):
        return _one(data, known=known, complete=complete, **told)
    names = {part_named(name): name for name in data}
    if len(data) == 1:
        return _one(next(iter(data.values())), known=known, complete=complete, **told)
    if None in names or len(names) != len(data) or "train" not in names:
        raise DataError(
            f"the dataset has the parts {', '.join(data)}",
            hint="give one part, or a dict with 'train' and 'validation' or 'test'",
        )
    train = _one(data[names["train"]], known=known, complete=complete, **told)["all"]
    parts = {"train": train}
    for part in ("val", "test"):
        if part in names:
            other = _one(data[names[part]], known=train.classes, complete=False, **told)["all"]
            parts[part] = other.with_classes(train.classes) if other.classes != train.classes else other
    return parts


def _one(
    data: Any,
    *,
    known: Sequence[str] | None,
    complete: bool,
    task: str | None,
    classes: Sequence[str] | None,
    columns: Mapping[str, str | Sequence[str]] | None,
) -> dict[str, Images]:
    header = list(data.column_names or data.features or next(iter(data), {}))
    found = columns_of(_likely(data, header, columns), columns, where=type(data).__name__)
    truth = found.mask or found.label[0]
    encoded = _encoded(data, found)
    others: dict[str | None, list[Any]] = {}
    if not hasattr(data, "__len__"):
        items, rows = held_in_memory(((row.pop(found.path), row) for row in encoded), what="dataset")
        raw = [_truth(row, found) for row in rows]
        others = {name: [row[name] for row in rows] for name in (found.group, found.split) if name}
    else:
        others = {name: list(data[name]) for name in (found.group, found.split) if name}
        pictures = encoded.select_columns([found.path])
        fixed = not _transformed(data)
        items = [DatasetEntry(pictures, index, found.path, fixed) for index in range(len(data))]
        if found.mask is not None:
            masks = data.with_format(None).select_columns([found.mask])
            raw = [DatasetEntry(masks, index, found.mask) for index in range(len(data))]
        else:
            plain = data.with_format(None).select_columns(list(found.label))
            raw = [_truth(row, found) for row in plain]
    named = classes if classes is not None else _names_of(data, found)
    images = labelled(
        items,
        raw,
        known=known,
        complete=complete,
        task=task or ("segmentation" if found.mask is not None else _task_of(data, truth)),
        classes=named,
    )
    return by_part(
        images,
        groups=others.get(found.group),
        parts=others.get(found.split),
        where=type(data).__name__,
    )


def _encoded(data: Any, found: Columns) -> Any:
    """The dataset giving images as they are stored, unless the user has put a transform on it."""
    features = data.features or {}
    if _transformed(data):
        return data
    if type(features.get(found.path)).__name__ != "Image":
        return data.with_format("numpy") if features else data
    from datasets import Image

    return data.with_format(None).cast_column(found.path, Image(decode=False))


def _transformed(data: Any) -> bool:
    return bool(getattr(data, "format", {}).get("type") == "custom")


def _likely(data: Any, header: list[str], columns: Mapping[str, Any] | None) -> list[str]:
    """The columns; only one of images and one of classes, beside groups and parts, if types tell them."""
    features = data.features or {}
    kinds = {name: type(features.get(name)).__name__ for name in header}
    pictures = [name for name in header if kinds[name] == "Image"]
    truths = [name for name in header if _class_label(features.get(name)) is not None]
    if columns is None and len(pictures) == 1 and len(truths) == 1:
        beside = {*USUAL["group"], *USUAL["split"]}
        return [*pictures, *truths, *(name for name in header if name.lower() in beside)]
    return header


def _truth(row: Mapping[str, Any], found: Columns) -> Any:
    if found.mask is not None:
        return row[found.mask]
    values = [row[name] for name in found.label]
    return values[0] if len(values) == 1 else values


def _names_of(data: Any, found: Columns) -> Sequence[str] | None:
    if len(found.label) > 1:
        return found.label
    label = _class_label((data.features or {}).get(found.mask or found.label[0]))
    return list(label.names) if label is not None else None


def _task_of(data: Any, column: str) -> str | None:
    feature = (data.features or {}).get(column)
    if _class_label(feature) is None:
        return None
    return "classes" if type(feature).__name__ == "ClassLabel" else "multi-label"


def _class_label(feature: Any) -> Any:
    """A ClassLabel, or that of which a column holds lists."""
    inner = getattr(feature, "feature", feature)
    return inner if type(inner).__name__ == "ClassLabel" else None
