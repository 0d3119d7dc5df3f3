"""A head's new classes, said by the user: for each the old class it is, or the several it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from torchgraft.adapting.row_map import LabelIndex, Row, RowMap, match_labels
from torchgraft.errors import AdaptError

__all__ = ["ClassMap", "ClassRows", "class_count", "class_names", "map_classes", "shifted_names"]

ClassRows: TypeAlias = int | str | Sequence[int | str] | None
"""Where a class comes from: an old one by its index or name, several that it stands for, or none."""

ClassMap: TypeAlias = (
    Literal["with-background", "without-background"] | Mapping[str, ClassRows] | Sequence[ClassRows]
)
"""By new name, or one entry a new class in order; or a background class put first, or left out."""

_BACKGROUND = ("with-background", "without-background")
_HINT = (
    'give {"new name": old} or one entry a new class: an index, a name, a list of those, or None; or '
    '"with-background", "without-background"'
)


def class_names(classes: ClassMap | None, labels: Sequence[str] | None) -> Sequence[str] | None:
    """The new classes' names: `labels`, or those that `classes` gives."""
    if labels is None and isinstance(classes, Mapping):
        return tuple(classes)
    return labels


def class_count(classes: ClassMap | None, have: int) -> int | None:
    """How many new classes `classes` describes, if that follows from it.

    Args:
        classes: As the user said.
        have: How many there are now.
    """
    if isinstance(classes, str):
        return have + (1 if _checked(classes) == "with-background" else -1)
    return len(classes) if isinstance(classes, Sequence) else None


def shifted_names(classes: ClassMap | None, known: Sequence[str] | None) -> Sequence[str] | None:
    """The names after a background class was put before the old ones or left out; else `None`."""
    if known is None or not isinstance(classes, str):
        return None
    return ("background", *known) if classes == "with-background" else tuple(known[1:])


def map_classes(
    classes: ClassMap | None, *, source: Sequence[str] | None, target: Sequence[str] | None, source_rows: int
) -> RowMap | None:
    """Where each new class's row comes from; `None` if nothing tells.

    Args:
        classes: As the user said. A name it does not mention is looked for among the old names.
        source: The old names, in the order of the rows, if known.
        target: The new names, if known.
        source_rows: How many old rows there are.

    Raises:
        AdaptError: A class is not there, or fits several; the description is none.
    """
    if classes is None:
        return match_labels(source, target) if source is not None and target is not None else None
    if isinstance(classes, str):
        shifted = tuple(range(source_rows))
        rows: tuple[Row, ...] = (None, *shifted) if _checked(classes) == "with-background" else shifted[1:]
        return RowMap.of(rows, source_rows)
    index = LabelIndex(source) if source is not None else None
    if not isinstance(classes, Mapping):
        if not isinstance(classes, Sequence) or not classes:
            raise AdaptError(f"class_map can't be {classes!r}", hint=_HINT)
        named = [f"class {place}" for place in range(len(classes))]
        rows = tuple(_row(name, said, index, source_rows) for name, said in zip(named, classes, strict=True))
        return RowMap.of(rows, source_rows)
    target = tuple(classes) if target is None else target
    beyond = [name for name in classes if name not in target]
    if beyond:
        raise AdaptError(f"class_map names {beyond[0]!r}, which is none of the {len(target)} labels")
    rows = tuple(
        _row(name, classes[name], index, source_rows)
        if name in classes
        else (index.row(name) if index is not None else None)
        for name in target
    )
    return RowMap.of(rows, source_rows)


def _row(name: str, said: ClassRows, index: LabelIndex | None, source_rows: int) -> Row:
    if said is None:
        return None
    several = [said] if isinstance(said, (int, str)) else list(said) if isinstance(said, Sequence) else []
    if not several:
        raise AdaptError(f"{name} can't come from {said!r}", hint=_HINT)
    rows = tuple(dict.fromkeys(_one(name, old, index, source_rows) for old in several))
    return rows[0] if len(rows) == 1 else rows


def _one(name: str, old: object, index: LabelIndex | None, source_rows: int) -> int:
    if isinstance(old, int) and not isinstance(old, bool):
        if not 0 <= old < source_rows:
            raise AdaptError(f"{name}: there is no old class {old}, there are {source_rows}")
        return old
    if not isinstance(old, str):
        raise AdaptError(f"{name} can't come from {old!r}", hint=_HINT)
    if index is None:
        raise AdaptError(
            f"{name} comes from {old!r}, but the old classes' names are not known",
            hint="give them (source_labels=, or describe(model, labels=…)), or the class's index",
        )
    row = index.row(old)
    if row is None:
        raise AdaptError(f"{name}: none of the {len(index.labels)} old classes is called {old!r}")
    return row


def _checked(word: str) -> str:
    if word not in _BACKGROUND:
        raise AdaptError(f"class_map can't be {word!r}", hint=_HINT)
    return word
