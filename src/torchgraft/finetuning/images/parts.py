"""Photos with a note on each of which part it belongs to → the parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images

__all__ = ["PARTS", "by_part", "part_named", "with_groups"]

PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Part → what it is called."""


def part_named(name: str) -> str | None:
    """`train`, `val` or `test`; `None` for another name."""
    plain = name.strip().lower()
    return next((part for part, names in PARTS.items() if plain in names), None)


def by_part(
    images: Images, *, groups: Sequence[str] | None, parts: Sequence[str] | None, where: str
) -> dict[str, Images]:
    """`{"all": …}`, or `train`, `val` and `test` as far as there.

    Raises:
        DataError: A part has another name, or none is for training.
    """
    if groups is not None:
        images = with_groups(images, groups)
    if parts is None:
        return {"all": images}
    members: dict[str, list[int]] = {}
    for index, name in enumerate(parts):
        part = part_named(name)
        if part is None:
            raise DataError(
                f"{images.names[index]} is in the part {name!r}",
                where=where,
                hint=f"parts: {', '.join(name for names in PARTS.values() for name in names)}",
            )
        members.setdefault(part, []).append(index)
    if set(members) == {"train"}:
        return {"all": images}
    if "train" not in members and len(members) == 1:
        return {"all": images}
    if "train" not in members:
        raise DataError(f"no image is in the part 'train', only in {', '.join(members)}", where=where)
    return {part: images.subset(members[part]) for part in PARTS if part in members}


def with_groups(images: Images, groups: Sequence[object] | Callable[[str], object] | str) -> Images:
    """The photos with what each belongs to.

    Args:
        images: The photos.
        groups: One value each, a function of a photo's name, or a regular expression that finds it in the
            name: what its first parentheses hold, or else all that it matches.

    Raises:
        DataError: There are more or fewer values than photos, or the expression finds nothing in a name.
    """
    if isinstance(groups, str):
        groups = _finder(groups)
    values = [groups(name) for name in images.names] if callable(groups) else list(groups)
    if len(values) != len(images):
        raise DataError(f"{len(images)} images, but {len(values)} groups")
    return replace(images, groups=tuple(str(value) for value in values))


def _finder(pattern: str) -> Callable[[str], str]:
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise DataError(f"groups={pattern!r} is not a regular expression ({error})") from error

    def find(name: str) -> str:
        match = found.search(name)
        if match is None:
            raise DataError(f"groups={pattern!r} finds nothing in it", where=name)
        return match[1] if found.groups else match[0]

    return find
