"""A GGUF model in several files, as llama.cpp's `gguf-split` writes it: each says how many there are.

Every part holds whole tensors; the first has the metadata of the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats.container import Container, OpenFile
from torchgraft.storage.folder import Folder, at_once

__all__ = ["is_split", "read_split"]

_COUNT, _NUMBER, _TENSORS = "split.count", "split.no", "split.tensors.count"
_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)", re.DOTALL)
_STORED_AS = "stored as (read as float32)"
_SHOWN = 5


def is_split(container: Container) -> bool:
    """Whether an opened file is one of several parts of a GGUF model."""
    count = container.metadata.get(_COUNT) if container.format == "gguf" else None
    return type(count) is int and count > 1


def read_split(part: Container, name: str, beside: Callable[[], Folder], open_file: OpenFile) -> Container:
    """All of a model of which a part has been opened.

    Args:
        part: That part.
        name: The name of its file.
        beside: Gives the folder that it is in.
        open_file: Opens one file.

    Raises:
        CorruptCheckpointError: Parts are missing, or they don't say the same.
        CheckpointError: The part's name doesn't tell what the others are called.
    """
    count, number = part.metadata[_COUNT], part.metadata.get(_NUMBER)
    assert type(count) is int
    found = _NAME.fullmatch(name)
    if found is None:
        raise CheckpointError(
            f"this is one part of a model in {count} files, and its name doesn't tell what they are called",
            where=part.name,
            hint=f"give all of them their names back: …-00001-of-{count:05}.gguf",
        )
    stem, own, total, suffix = found.groups()
    if int(total) != count or type(number) is not int or int(own) != number + 1:
        raise CorruptCheckpointError(
            f"by its name it is part {int(own)} of {int(total)}, by its metadata "
            f"part {number + 1 if type(number) is int else '?'} of {count}",
            where=part.name,
            hint="give all parts their names back, or download them again",
        )
    folder = beside()
    names = [f"{stem}-{place:05}-of-{total}{suffix}" for place in range(1, count + 1)]
    others = [other for other in names if other != name]
    sizes = at_once(folder, others, folder.size)
    if missing := [other for other, size in zip(others, sizes, strict=True) if size is None]:
        more = f", … ({len(missing):,} in all)" if len(missing) > _SHOWN else ""
        raise CorruptCheckpointError(
            f"it is in {count} files, and of those are missing: {', '.join(missing[:_SHOWN])}{more}",
            where=part.name,
            hint="download them into the same folder",
        )
    opened = dict(
        zip(others, at_once(folder, others, lambda other: open_file(folder.open(other))), strict=True)
    )
    return _joined(part, [opened.get(other, part) for other in names])


def _joined(given: Container, parts: list[Container]) -> Container:
    first = parts[0]
    tree: dict[str, object] = {}
    stored_as: dict[str, object] = {}
    for number, part in enumerate(parts):
        said = [part.metadata.get(key) for key in (_COUNT, _NUMBER, _TENSORS)]
        if part.format != "gguf" or said != [len(parts), number, given.metadata.get(_TENSORS)]:
            raise CorruptCheckpointError(
                f"it is not part {number + 1} of the {len(parts)} that {given.name} is of: "
                f"its {_COUNT}, {_NUMBER} and {_TENSORS} are {_shown(said)}",
                where=part.name,
                hint="the parts are of different models: download all of them again",
            )
        assert isinstance(part.tree, dict)
        if twice := next((name for name in part.tree if name in tree), None):
            raise CorruptCheckpointError(
                "this tensor is in another part too", where=f"{part.name}: {twice[:200]}"
            )
        tree |= part.tree
        packed = part.metadata.get(_STORED_AS)
        stored_as |= packed if isinstance(packed, Mapping) else {}
    announced = given.metadata.get(_TENSORS)
    if announced != len(tree):
        raise CorruptCheckpointError(
            f"its {len(parts)} files hold {len(tree):,} tensors, and {_TENSORS} is {_shown([announced])}",
            where=given.name,
            hint="download all parts again",
        )
    metadata = {**first.metadata, **({_STORED_AS: stored_as} if stored_as else {})}
    return replace(given, tree=tree, metadata=metadata)


def _shown(values: list[object]) -> str:
    return ", ".join(str(value)[:40] if isinstance(value, int) else "missing" for value in values)
