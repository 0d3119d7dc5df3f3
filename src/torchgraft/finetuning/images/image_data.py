"""Data together with what it doesn't say itself: which column is which, which photos belong together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torchgraft.errors import DataError

__all__ = ["ImageData", "told_of"]


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """A source of images for `finetune` or `evaluate`, with what it doesn't say itself.

    Attributes:
        source: A folder, a CSV or TSV file, `(images, labels)`, a dataset or an iterable.
        task: `"classes"`, `"multi-label"`, `"regression"` or `"segmentation"`; `None`: by the labels' looks.
        classes: Names of the classes, in the order of their numbers.
        columns: Names of the columns of a table or Hugging Face dataset that hold `path` (or `image`),
            `label` (one or several), `mask`, `split` and `group`; and `separator`: what stands between
            several classes in one field. Only those that aren't found by their names.
        root: What a table's paths are relative to, if not to its own folder.
        groups: What must not be divided by the split, such as patients: one value an image, or a function
            of the image's name, or a regular expression that finds it in the name.
        near_duplicates: Whether to look for photos that look alike on both sides of the split, too. Exact
            copies are always looked for. It decodes every photo.
        duplicates: `"report"` names copies on both sides of the split; `"train"` moves them to the training
            side, `"ignore"` doesn't look.
    """

    source: Any
    task: str | None = None
    classes: Sequence[str] | None = None
    columns: Mapping[str, str | Sequence[str]] | None = None
    root: str | os.PathLike[str] | None = None
    groups: Sequence[object] | Callable[[str], object] | str | None = None
    near_duplicates: bool = False
    duplicates: str = "report"


def told_of(data: Any) -> ImageData:
    """The data with what is said of it, be it in a JSON file: an object of `ImageData`'s attributes.

    In the file, paths are relative to its folder.

    Raises:
        DataError: The file can't be read, or says something else.
    """
    if isinstance(data, ImageData):
        return data
    if not isinstance(data, (str, os.PathLike)) or Path(data).suffix.lower() != ".json":
        return ImageData(data)
    path = Path(data)
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"the description of the data can't be read ({error})", where=str(path)) from error
    known = [field.name for field in fields(ImageData)]
    if not isinstance(said, dict) or not isinstance(said.get("source"), str):
        raise DataError(
            "it doesn't say where the images are",
            where=str(path),
            hint='write an object such as {"source": "labels.csv", "columns": {"label": "diagnosis"}}',
        )
    unknown = [name for name in said if name not in known]
    if unknown:
        raise DataError(f"{unknown[0]!r} is unknown", where=str(path), hint=f"known: {', '.join(known)}")
    for name in ("source", "root"):
        if said.get(name) is not None:
            said[name] = path.parent / said[name]
    return ImageData(**said)
