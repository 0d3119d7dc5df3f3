"""Weights of Keras 3 in several HDF5 files with an index: `save_weights("x.weights.json", max_shard_size=…)`.

The index says of each layer's group of variables in which file, or files, it is:
`{"metadata": {…}, "weight_map": {"/layers/dense/vars": ["x_00000.weights.h5"], …}}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Container
from torchgraft.formats.hdf5 import Dataset, Group, is_hdf5, read_hdf5
from torchgraft.formats.keras.config import KerasConfig
from torchgraft.formats.keras.h5 import keras3_tree
from torchgraft.formats.strict_json import read_json_table
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.folder import Folder, at_once

__all__ = ["KerasIndex", "is_keras_index", "read_keras_index", "read_keras_shards"]

KerasIndex = Mapping[str, tuple[str, ...]]
"""By the path of a group of variables, the files that it is in."""

_MAX_BYTES = 24 << 20
_MAX_FILES = 10_000
_SHOWN = 5
_HEAD = 4096


def is_keras_index(head: bytes) -> bool:
    """Whether a file that begins so claims to be such an index."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"{") and b'"weight_map"' in head and b'.weights.h5"' in head


def read_keras_index(file: ByteFile) -> KerasIndex:
    """Read an index.

    Raises:
        CorruptCheckpointError: It is no JSON, or does not name files for each of its groups.
        UnsafeCheckpointError: It is too large.
    """
    places = read_json_table(file, max_bytes=_MAX_BYTES).get("weight_map")
    index: dict[str, tuple[str, ...]] = {}
    for path, files in places.items() if isinstance(places, dict) else ():
        match files:
            case str(name):
                index[path.strip("/")] = (name,)
            case [*names] if names and all(isinstance(name, str) for name in names):
                index[path.strip("/")] = tuple(map(str, names))
            case _:
                raise CorruptCheckpointError(
                    "the index names no file for this group", where=f"{file.name}: {path[:200]}"
                )
    if not index:
        raise CorruptCheckpointError('its "weight_map" is not a table of groups and files', where=file.name)
    return index


def read_keras_shards(index: KerasIndex, folder: Folder, *, name: str, path: Path | None) -> Container:
    """Open the files that an index names, and check that it and they say the same.

    Args:
        index: The index.
        folder: Where its files are; none outside of it is opened.
        name: What the container is to be called.
        path: Where it is on this machine, if it is.

    Raises:
        CorruptCheckpointError: Files or groups are missing, or there are some that the index does not name.
        UnsafeCheckpointError: A path leads out of the folder.
    """
    files = list(dict.fromkeys(file for files in index.values() for file in files))
    if len(files) > _MAX_FILES:
        raise UnsafeCheckpointError(
            f"the index names {len(files):,} files; the limit is {_MAX_FILES:,}", where=name
        )
    opened = dict(zip(files, at_once(folder, files, lambda file: _open(folder, file)), strict=True))
    problems = [f"missing file: {file}" for file, root in opened.items() if root is None]
    merged = Group("")
    for file, root in opened.items():
        if root is None:
            continue
        named = {group for group, files in index.items() if file in files}
        held = {
            group.path
            for group in _groups(root)
            if any(isinstance(m, Dataset) for m in group.members.values())
        }
        problems += [f"/{group} is not in {file}" for group in sorted(named - held)]
        problems += [
            f"/{group} is in {file}, and the index does not say so" for group in sorted(held - named)
        ]
        _merge(merged, root, f"{folder.name}/{file}")
    if problems:
        more = f"; … ({len(problems):,} in all)" if len(problems) > _SHOWN else ""
        raise CorruptCheckpointError(
            f"the index and its files don't fit: {'; '.join(text[:300] for text in problems[:_SHOWN])}{more}",
            where=name,
            hint="download or save all of them again, the index too",
        )
    return Container(name, path, "keras shards", keras3_tree(merged, KerasConfig()))


def _open(folder: Folder, file: str) -> Group | None:
    if folder.size(file) is None:
        return None
    opened = folder.open(file)
    if not is_hdf5(bytes(opened.view(0, min(_HEAD, opened.size)))):
        raise CorruptCheckpointError(
            "this shard is no HDF5 file", where=opened.name, hint="download it again"
        )
    return read_hdf5(opened)


def _groups(root: Group) -> Iterator[Group]:
    stack = [root]
    while stack:
        group = stack.pop()
        yield group
        stack.extend(member for member in group.members.values() if isinstance(member, Group))


def _merge(into: Group, group: Group, where: str) -> None:
    """Add what is in a group to another one of the same path."""
    stack = [(into, group)]
    while stack:
        mine, other = stack.pop()
        mine.attributes = {**other.attributes, **mine.attributes}
        for name, member in other.members.items():
            known = mine.members.get(name)
            if isinstance(member, Group) and (known is None or isinstance(known, Group)):
                known = mine.members.setdefault(name, Group(member.path))
                assert isinstance(known, Group)
                stack.append((known, member))
            elif known is None:
                mine.members[name] = member
            else:
                raise CorruptCheckpointError(
                    "this variable is in another shard too",
                    where=f"{where}: /{member.path[:200]}",
                    hint="the shards are of different models: save them again",
                )
