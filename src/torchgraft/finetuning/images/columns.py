"""Which column of a table holds what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from torchgraft.errors import DataError

__all__ = ["USUAL", "Columns", "columns_of"]

USUAL = {
    "path": ("path", "file", "image", "filename", "file_name", "filepath", "file_path", "image_path", "img"),
    "label": ("label", "labels", "class", "classes", "target", "targets", "category", "tags"),
    "mask": ("mask", "mask_path", "masks", "segmentation"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "groups", "group_id"),
}
"""Role → names by which its column is found, the likelier first."""

_OTHER_WORDS = {"image": "path", "file": "path", "target": "label", "class": "label", "groups": "group"}
_ROLES = (*USUAL, "separator")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns; `label` is one name, or several where each class or number has a column."""

    path: str
    label: tuple[str, ...]
    mask: str | None
    split: str | None
    group: str | None
    separator: str | None


def columns_of(
    header: Sequence[str], told: Mapping[str, str | Sequence[str]] | None, *, where: str
) -> Columns:
    """What the user says, then usual names, then: what is left over is labels.

    Raises:
        DataError: The user names a column that isn't there, or there is none of photos or labels.
    """
    said = {_OTHER_WORDS.get(role, role): value for role, value in (told or {}).items()}
    for role, value in said.items():
        _check(role, value, header, where)
    chosen: dict[str, str] = {}
    label: tuple[str, ...] = ()
    if "label" in said:
        label = (said["label"],) if isinstance(said["label"], str) else tuple(said["label"])
    taken = {*label, *(value for role, value in said.items() if isinstance(value, str) and role != "label")}
    for role in ("path", "mask", "split", "group"):
        given = said.get(role)
        found = given if isinstance(given, str) else _usual(role, header, taken)
        if found is not None:
            chosen[role] = found
            taken.add(found)
    if "path" not in chosen:
        raise DataError(
            f"no column of image paths among {', '.join(header)}",
            where=where,
            hint="name it: columns={'path': …}",
        )
    if not label and "mask" not in chosen:
        usual = _usual("label", header, taken)
        label = (usual,) if usual else tuple(name for name in header if name and name not in taken)
        if not label:
            raise DataError(
                f"no column of labels among {', '.join(header)}",
                where=where,
                hint="name it: columns={'label': …}",
            )
    separator = said.get("separator")
    return Columns(
        path=chosen["path"],
        label=label,
        mask=chosen.get("mask") if not label else None,
        split=chosen.get("split"),
        group=chosen.get("group"),
        separator=separator if isinstance(separator, str) else None,
    )


def _usual(role: str, header: Sequence[str], taken: set[str]) -> str | None:
    by_name = {name.strip().lower(): name for name in reversed(header) if name not in taken}
    return next((by_name[name] for name in USUAL[role] if name in by_name), None)


def _check(role: str, value: str | Sequence[str], header: Sequence[str], where: str) -> None:
    if role not in _ROLES:
        raise DataError(f"columns has no {role!r}", where=where, hint=f"columns: {', '.join(_ROLES)}")
    if role == "separator":
        return
    for name in [value] if isinstance(value, str) else value:
        if name not in header:
            near = get_close_matches(name, list(header), n=3) or list(header)
            raise DataError(f"no column {name!r}", where=where, hint=f"columns: {', '.join(near)}")
