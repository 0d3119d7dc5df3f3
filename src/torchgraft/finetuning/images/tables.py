"""A CSV or TSV file with a line for each photo: its path, and what is known of it."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchgraft.errors import DataError
from torchgraft.finetuning.images.columns import Columns, columns_of
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.labelling import labelled
from torchgraft.finetuning.images.parts import by_part

__all__ = ["TABLE_SUFFIXES", "table_parts"]

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab"})
_SEPARATORS = ("|", ";")
"""What stands between several classes in a field without anybody saying so; class names may hold a comma."""


def table_parts(
    path: Path,
    *,
    known: Sequence[str] | None = None,
    complete: bool = True,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> dict[str, Images]:
    """`{"all": …}`, or the parts that the table's `split` column names; arguments as for `ImageData`.

    Labels in one column are classes, by name or number; with `|` or `;` in them, several classes.
    Several columns are a 0 or 1 for each class, or the numbers of a regression.

    Raises:
        DataError: It is no such table, or a line lacks something; the line is named.
    """
    header, rows = _read(path)
    found = columns_of(header, columns, where=str(path))
    at = {name: index for index, name in enumerate(header)}
    folder = Path(root) if root is not None else path.parent
    files = [_field(row, at[found.path], line, found.path, path) for line, row in rows]
    if found.mask is not None:
        masks = [_field(row, at[found.mask], line, found.mask, path) for line, row in rows]
        raw: list[Any] = [folder / mask for mask in masks]
        kind: str | None = task or "segmentation"
        names: tuple[str, ...] | None = None
    else:
        raw, kind, names = _labels(rows, at, found, task, path)
    images = labelled(
        [folder / file for file in files],
        raw,
        known=known,
        complete=complete,
        task=kind,
        classes=classes if classes is not None else names,
        names=files,
    )
    _check_twice(images, path)
    return by_part(
        images,
        groups=[row[at[found.group]] for _, row in rows] if found.group is not None else None,
        parts=[row[at[found.split]] for _, row in rows] if found.split is not None else None,
        where=str(path),
    )


def _check_twice(images: Images, path: Path) -> None:
    """An image may be listed more than once, but not as this and that."""
    first: dict[str, int] = {}
    for index, name in enumerate(images.names if images.task != "segmentation" else ()):
        before = first.setdefault(name, index)
        if images.labels[before] != images.labels[index]:
            raise DataError(
                f"{name} is listed twice, with different labels",
                where=str(path),
                hint="several classes of an image belong into one line: cat|outdoors",
            )


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each line that isn't empty with its number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(path, first), strict=True)
            lines = [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table can't be read ({error})", where=str(path)) from error
    if len(lines) < 2:
        raise DataError("the table has no lines below its header", where=str(path))
    header = [name.strip() for name in lines[0][1]]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise DataError(f"two columns are called {twice[0]!r}", where=str(path))
    for line, row in lines[1:]:
        if len(row) != len(header):
            raise DataError(
                f"line {line} has {len(row)} fields, the header {len(header)}",
                where=str(path),
                hint="put fields that hold the delimiter into double quotes",
            )
    return header, lines[1:]


def _delimiter(path: Path, first: str) -> str:
    if path.suffix.lower() != ".csv":
        return "\t"
    return max(",;\t", key=first.count)


def _field(row: list[str], at: int, line: int, column: str, path: Path) -> str:
    value = row[at].strip()
    if not value:
        raise DataError(f"line {line} has nothing under {column!r}", where=str(path))
    return value


def _labels(
    rows: list[tuple[int, list[str]]], at: Mapping[str, int], found: Columns, task: str | None, path: Path
) -> tuple[list[Any], str | None, tuple[str, ...] | None]:
    """What `labelled` takes: labels, the task if it is known, and names of classes or numbers."""
    if len(found.label) > 1:
        return _from_columns(rows, at, found.label, task, path)
    column = found.label[0]
    several = task == "multi-label" or found.separator is not None
    texts = [
        row[at[column]].strip() if several else _field(row, at[column], line, column, path)
        for line, row in rows
    ]
    if task == "regression":
        return (
            [_number(text, line, column, path) for text, (line, _) in zip(texts, rows, strict=True)],
            task,
            (column,),
        )
    separator = found.separator or next((s for s in _SEPARATORS if any(s in text for text in texts)), None)
    if task == "multi-label" and separator is None:
        separator = ","
    if separator is not None and task in (None, "multi-label"):
        return (
            [[part.strip() for part in text.split(separator) if part.strip()] for text in texts],
            "multi-label",
            None,
        )
    numbers = _numbers(texts)
    if numbers is None:
        return list(texts), task or "classes", None
    whole = [int(number) for number in numbers if number.is_integer()]
    if task is None and len(whole) * 2 < len(numbers):
        return numbers, "regression", (column,)
    if len(whole) == len(numbers) and set(whole) == set(range(max(whole) + 1)):
        return whole, task or "classes", None
    return list(texts), task or "classes", None  # numbers with gaps are names like others


def _from_columns(
    rows: list[tuple[int, list[str]]],
    at: Mapping[str, int],
    columns: tuple[str, ...],
    task: str | None,
    path: Path,
) -> tuple[list[Any], str | None, tuple[str, ...]]:
    numbers = [[_number(row[at[name]], line, name, path) for name in columns] for line, row in rows]
    flags = all(value in (0, 1) for row in numbers for value in row)
    if task == "regression" or (task is None and not flags):
        return numbers, "regression", columns
    if not flags:
        raise DataError(f"columns {', '.join(columns[:5])} are not a 0 or 1 for each class", where=str(path))
    chosen = [[index for index, value in enumerate(row) if value] for row in numbers]
    if task == "classes":
        for members, (line, _) in zip(chosen, rows, strict=True):
            if len(members) != 1:
                raise DataError(f"line {line} has {len(members)} classes", where=str(path))
        return [members[0] for members in chosen], task, columns
    return chosen, "multi-label", columns


def _number(text: str, line: int, column: str, path: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"line {line} has {text.strip()!r} under {column!r}, which is not a number",
            where=str(path),
            hint="name the columns that are labels: columns={'label': …}",
        ) from None


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        found = [float(text) for text in texts]
    except ValueError:
        return None
    return found if all(abs(number) < float("inf") for number in found) and min(found) >= 0 else None
