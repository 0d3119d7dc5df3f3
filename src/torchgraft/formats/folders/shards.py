"""A checkpoint in several files that hold whole tensors; an index says which, or the files' names do."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Container, OpenFile
from torchgraft.formats.folders.shard_index import ShardIndex
from torchgraft.formats.tied_names import tied_names
from torchgraft.storage.folder import Folder, at_once
from torchgraft.tensors import TensorRef

__all__ = ["read_indexed_shards", "read_numbered_shards", "shard_group"]

_SHARD_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})((?:\.\w+)+)")
_MAX_FILES = 10_000  # a process may map 65,530
_SHOWN = 5


def shard_group(name: str) -> tuple[str, int, str] | None:
    """What `model-00001-of-00003.safetensors` shares with its fellows: `("model", 3, ".safetensors")`."""
    found = _SHARD_NAME.fullmatch(name)
    return (found[1], int(found[3]), found[4]) if found else None


def read_indexed_shards(
    index: ShardIndex, folder: Folder, open_file: OpenFile, *, name: str, path: Path | None
) -> Container:
    """Open the files that an index names, and check that it and they say the same.

    Args:
        index: The index.
        folder: Where its files are; none outside of it is opened.
        open_file: Opens one file.
        name: What the container is to be called.
        path: Where it is on this machine, if it is.

    Raises:
        CorruptCheckpointError: Files or tensors are missing, or there are some that the index does not
            name. All of them are in the one message.
        UnsafeCheckpointError: A path leads out of the folder.
    """
    wanted: dict[str, set[str]] = {}
    for key, place in index.places.items():
        wanted.setdefault(place, set()).add(key)
    shards = _Shards(folder, open_file)
    if len(wanted) > _MAX_FILES:
        raise UnsafeCheckpointError(
            f"the index names {len(wanted):,} files; the limit is {_MAX_FILES:,}", where=index.name
        )
    try:
        missing = shards.open(wanted)
    except CheckpointError as error:
        if error.where != folder.name:  # a file's own
            raise
        raise type(error)(error.what, where=index.name, hint=error.hint) from error
    # An entry may be no tensor (a module's extra state), and such an entry need not be in the index.
    lying = [
        f"{key!r} is not in {file}"
        for file, keys in wanted.items()
        if file in shards.trees
        for key in keys - shards.trees[file].keys()
    ]
    extra = [
        f"{key!r} is in {file}" + (f" and not in {index.places[key]}" if key in index.places else "")
        for file, tree in shards.trees.items()
        for key, value in tree.items()
        if isinstance(value, TensorRef) and key not in wanted[file] and key not in shards.metadata
    ]
    problems = [
        *_told("missing files", missing),
        *_told("tensors that the index names and their file does not hold", sorted(lying)),
        *_told("tensors that the index does not name there", extra),
        *_told("files of this kind that the index does not name", _strays(folder.files, wanted)),
    ]
    if problems:
        raise CorruptCheckpointError(
            f"the index and its files don't fit: {'; '.join(problems)}",
            where=index.name,
            hint="download or save all of them again, the index too; or open one file alone",
        )
    tree = {key: shards.entry(place, key) for key, place in index.places.items()}
    for inner in shards.trees.values():
        tree |= {key: value for key, value in inner.items() if key not in tree}
    tree |= tied_names(index.metadata, tree)
    return Container(name, path, shards.format, tree, {**shards.metadata, **index.metadata})


def read_numbered_shards(names: Collection[str], folder: Folder, open_file: OpenFile) -> Container:
    """Open shards that have no index, but are called `…-00001-of-00003…`.

    Raises:
        CorruptCheckpointError: Some are missing, or two hold a tensor of the same name.
        UnsafeCheckpointError: One is a link out of the folder.
    """
    groups = {shard_group(name) for name in names}
    (group,) = groups
    assert group is not None
    stem, total, suffix = group
    present = {int(name[len(stem) + 1 : len(stem) + 6]) for name in names}
    expected = set(range(1, total + 1))
    if present != expected:
        absent = sorted(f"{number:05}" for number in expected - present)
        raise CorruptCheckpointError(
            "; ".join(_told("missing shards", absent)) or f"of {total} shards {len(present)} are there",
            where=f"{folder.name}: {stem}-…-of-{total:05}{suffix}",
            hint="download or save all of them again; or open one file alone",
        )
    shards = _Shards(folder, open_file)
    tree: dict[str, object] = {}
    places: dict[str, str] = {}
    twice: list[str] = []
    for name in shards.open(sorted(names)):
        raise CorruptCheckpointError("the file is gone", where=f"{folder.name}: {name}")
    for name in sorted(names):
        for key in shards.trees[name]:
            if key in places:
                twice.append(f"{key!r} is in {places[key]} and in {name}")
            places[key] = name
            tree[key] = shards.entry(name, key)
    if twice:
        raise CorruptCheckpointError(
            "; ".join(_told("tensors in two shards", twice)),
            where=folder.name,
            hint="the shards are of different checkpoints: save them again, or open one file alone",
        )
    return Container(folder.name, folder.path, shards.format, tree, shards.metadata)


class _Shards:
    """Opened files, and what they hold by name."""

    def __init__(self, folder: Folder, open_file: OpenFile) -> None:
        self._folder = folder
        self._open_file = open_file
        self._formats: dict[str, None] = {}
        self.trees: dict[str, dict[str, object]] = {}
        self.metadata: dict[str, object] = {}

    def open(self, files: Iterable[str]) -> list[str]:
        """Open files; several at once where they are far away. Returns those that are not there."""
        names = list(files)
        missing = []
        for file, container in zip(names, at_once(self._folder, names, self._open), strict=True):
            if container is None:
                missing.append(file)
            else:
                self._add(file, container)
        return missing

    def _open(self, file: str) -> Container | None:
        return None if self._folder.size(file) is None else self._open_file(self._folder.open(file))

    def _add(self, file: str, container: Container) -> None:
        tree = container.tree
        if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
            raise CorruptCheckpointError("this shard is not a table of named tensors", where=container.name)
        self.trees[file] = tree
        self._formats.setdefault(container.format)
        for key, value in container.metadata.items():
            self.metadata.setdefault(key, value)

    def entry(self, file: str, key: str) -> object:
        """An entry of a file; a tensor has its key as its name."""
        value = self.trees[file][key]
        return replace(value, name=key) if isinstance(value, TensorRef) and value.name != key else value

    @property
    def format(self) -> str:
        """`"safetensors shards"`, `"torch shards"`, or another kind."""
        kinds = {"torch" if name.startswith("torch ") else name for name in self._formats}
        return f"{kinds.pop()} shards" if len(kinds) == 1 else "shards of several kinds"


def _strays(files: Collection[str], named: Mapping[str, object]) -> list[str]:
    """Files that belong to the index's shards by their names, but not by the index."""
    groups = {shard_group(name) for name in named} - {None}
    return [file for file in files if file not in named and shard_group(file) in groups]


def _told(what: str, items: list[str]) -> list[str]:
    return [f"{what}: {_listed([item[:300] for item in items[:_SHOWN]], len(items))}"] if items else []


def _listed(shown: list[str], count: int) -> str:
    return ", ".join(shown) + (f", … ({count:,} in all)" if count > len(shown) else "")
