"""Class names, from a list or a file: one a line, JSON, a model's config.json, ImageNet's class index."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from torchgraft.errors import DataError

__all__ = ["Labels", "comparable", "labels_in", "read_labels"]

Labels: TypeAlias = Sequence[str] | str | os.PathLike[str]
"""Class names in the order of the rows, or the path of a file that holds them."""

_MAX_BYTES = 32 << 20  # a config.json of ImageNet-21k's names has 1.5 MB
_SYNSET = re.compile(r"n\d{8}")
_PLACEHOLDER = re.compile(r"LABEL_\d+")
_HINT = 'write one class name a line, or a JSON list: ["cat", "dog"]'


def read_labels(labels: Labels) -> tuple[str, ...]:
    """The class names, in order.

    A file may hold

    - one name a line;
    - in JSON: a list of names; an object with numbers as keys (`{"0": "cat"}`); names as keys and numbers as
      values (`{"cat": 0}`, torchvision's `class_to_idx`); ImageNet's class index (`{"0": ["n01440764",
      "tench"]}`, which gives `"n01440764, tench"`);
    - a model's `config.json` with `id2label`, or its folder.

    Raises:
        DataError: The file can't be read, is too large, or holds no names; the list holds something else.
    """
    if isinstance(labels, (str, os.PathLike)):
        return _from_file(Path(labels))
    names = tuple(labels)
    if not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"labels must be a list of class names, not {labels!r}", hint=_HINT)
    return names


def labels_in(data: object) -> tuple[str, ...] | None:
    """The class names that a file's description of a model gives, such as `{"id2label": {"0": "cat"}}`.

    `None` where it gives none: no such field, or only placeholders such as `LABEL_0`.
    """
    if not isinstance(data, Mapping):
        return None
    for field in ("labels", "id2label", "label_names", "class_names", "classes", "names", "class_to_idx"):
        try:
            names = _listed(data.get(field))
        except ValueError:
            continue
        if names and not all(_PLACEHOLDER.fullmatch(name) for name in names):
            return names
    return None


def comparable(
    source: Sequence[str] | None, target: Sequence[str] | None
) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """Both lists, so that ImageNet's synset ids on one side find names on the other.

    An id such as `n02123045` becomes `"n02123045, tabby, tabby cat"` where timm, which has the names, is
    installed and the other list has names.
    """
    if source is None or target is None or _ids(source) == _ids(target):
        return source, target
    return _named(source), _named(target)


def _ids(labels: Sequence[str]) -> bool:
    return all(_SYNSET.fullmatch(label) for label in labels)


def _named(labels: Sequence[str]) -> Sequence[str]:
    if not any(_SYNSET.fullmatch(label) for label in labels):
        return labels
    try:
        from timm.data.imagenet_info import ImageNetInfo
    except ImportError:
        return labels
    names: Any = ImageNetInfo("imagenet-22k").label_descriptions(as_dict=True)
    return tuple(f"{label}, {names[label]}" if label in names else label for label in labels)


def _from_file(path: Path) -> tuple[str, ...]:
    where = path / "config.json" if path.is_dir() else path
    try:
        if (size := where.stat().st_size) > _MAX_BYTES:
            raise ValueError(f"{size:,} bytes are too many for a list of names")
        text = where.read_text("utf-8-sig")
        labels = _from_json(json.loads(text)) if where.suffix.lower() == ".json" else _from_lines(text)
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"class names can't be read: {why}", where=str(path), hint=_HINT) from error
    if not labels:
        raise DataError("holds no class names", where=str(path), hint=_HINT)
    return labels


def _from_lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _from_json(data: object) -> tuple[str, ...]:
    if isinstance(data, dict) and "id2label" in data:
        data = data["id2label"]
    return _listed(data)


def _listed(data: object) -> tuple[str, ...]:
    """The names of a list, or of an object with numbers as keys or as values, in order."""
    if isinstance(data, Mapping):
        turned = data and all(isinstance(number, int) for number in data.values())
        pairs = [(value, key) for key, value in data.items()] if turned else list(data.items())
        numbers = {int(number): name for number, name in pairs}
        if sorted(numbers) != list(range(len(data))):
            raise ValueError("its numbers are not 0, 1, 2, …")
        data = [numbers[i] for i in range(len(numbers))]
    if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
        raise ValueError("it is not a list of names")
    names = [_name(entry) for entry in data]
    if any(name is None for name in names):
        raise ValueError("it is not a list of names")
    return tuple(name for name in names if name is not None)


def _name(entry: object) -> str | None:
    if isinstance(entry, list) and entry and all(isinstance(part, str) for part in entry):
        return ", ".join(entry)
    return entry if isinstance(entry, str) else None
