"""What torch.distributed.checkpoint's `.metadata` says, read off the pickle as data.

It is a pickled `torch.distributed.checkpoint.metadata.Metadata`: a table of tensors and other values; for
each piece of them the file it is in and where; and the place in the nested state dict that each came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles import read_pickle
from torchgraft.storage.byte_file import ByteFile

__all__ = ["Metadata", "Piece", "Place", "TensorEntry", "read_metadata"]

_MAX_BYTES = 1 << 28
_MAX_NUMBERS = 64
_MAX_TEXT = 4096
_PIECE_BYTES = 16  # a pickled piece takes more; fewer bytes a piece: the same ones told over and over
_MAX_NUMBER = 1 << 62
_MODULES = ("torch.distributed.checkpoint.", "torch.distributed._shard.")
"""Where these classes are and were."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece is stored: bytes of a file."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a tensor: where it is in the whole, its shape, and its place; `None` for an empty one."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    place: Place | None


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor."""

    dtype: str
    shape: tuple[int, ...]
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Metadata:
    """All of it.

    Attributes:
        entries: By name, a tensor, or where another value is stored.
        paths: The keys that lead to a name in the nested state dict, where that was flattened.
        version: The format's version, if it is told.
    """

    entries: Mapping[str, TensorEntry | Place]
    paths: Mapping[str, tuple[str | int, ...]]
    version: str


def read_metadata(file: ByteFile) -> Metadata:
    """Read `.metadata`.

    Raises:
        CorruptCheckpointError: It is not what that file is, or contradicts itself.
        UnsafeCheckpointError: It asks for more work than an honest one.
    """
    where = file.name
    if file.size > _MAX_BYTES:
        raise UnsafeCheckpointError(f"it has {file.size:,} bytes; the limit is {_MAX_BYTES:,}", where=where)
    root, _ = read_pickle(file.data, where=where)
    state = _state(root, "Metadata")
    described, stored = state.get("state_dict_metadata"), state.get("storage_data")
    if not isinstance(described, dict) or not isinstance(stored, dict):
        raise CorruptCheckpointError(
            "this is not the metadata of a torch.distributed.checkpoint",
            where=where,
            hint="if it was written by a storage plugin of your own, load it with that",
        )
    places = _places(stored, where)
    entries: dict[str, TensorEntry | Place] = {}
    pieces_left = 100 + file.size // _PIECE_BYTES
    for name, entry in described.items():
        if not isinstance(name, str) or len(name) > _MAX_TEXT:
            raise CorruptCheckpointError("an entry's name is no text, or a very long one", where=where)
        pieces = _state(entry, "TensorStorageMetadata").get("chunks")
        pieces_left -= len(pieces) if isinstance(pieces, list) else 0
        if pieces_left < 0:
            raise UnsafeCheckpointError(
                "it tells the same pieces over and over", where=f"{where}: {name[:200]}"
            )
        entries[name] = _entry(name, entry, places, f"{where}: {name[:200]}")
    version = state.get("version")
    return Metadata(
        entries, _paths(state.get("planner_data"), entries), version if isinstance(version, str) else ""
    )


def _state(node: object, name: str) -> dict[object, object]:
    """The attributes of an object of that class; empty if it is something else."""
    if _is_of_class(node, name) and isinstance(node, Placeholder) and isinstance(node.state, dict):
        return node.state
    return {}


def _is_of_class(node: object, name: str) -> bool:
    """Whether this is an object of that class of torch.distributed.checkpoint's."""
    return (
        isinstance(node, Placeholder)
        and node.class_name.startswith(_MODULES)
        and node.class_name.rpartition(".")[2] == name
    )


def _key(name: str, offsets: tuple[int, ...] | None) -> str:
    """Where a piece is looked up: a text, because a file can choose numbers that are slow to look up."""
    return f"{name}\0{offsets}"


def _places(stored: Mapping[object, object], where: str) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for index, info in stored.items():
        key, value = _state(index, "MetadataIndex"), _state(info, "_StorageInfo")
        name, offsets = key.get("fqn"), key.get("offset")
        if (
            not isinstance(name, str)
            or len(name) > _MAX_TEXT
            or not (offsets is None or _are_numbers(offsets))
        ):
            raise CorruptCheckpointError("a stored piece has no name or no place in its tensor", where=where)
        entry = f"{where}: {name[:200]}"
        found = _key(name, offsets if isinstance(offsets, tuple) else None)
        if found in places:
            raise CorruptCheckpointError("is stored twice", where=entry)
        match value:
            case {"relative_path": str(file), "offset": int(offset), "length": int(length)} if (
                0 <= offset < _MAX_NUMBER and 0 <= length < _MAX_NUMBER and len(file) <= _MAX_TEXT
            ):
                places[found] = Place(file, offset, length)
            case _:
                raise CorruptCheckpointError("nothing tells in which file it is stored", where=entry)
        if transforms := value.get("transform_descriptors"):
            known = transforms if isinstance(transforms, (list, tuple)) else ()
            shown = ", ".join(text[:40] for text in known[:4] if isinstance(text, str))
            raise CheckpointError(
                f"is stored through an extension ({shown}), which can't be read here",
                where=entry,
                hint="load it with torch.distributed.checkpoint and save it again without extensions",
            )
    return places


def _entry(name: str, entry: object, places: Mapping[str, Place], where: str) -> TensorEntry | Place:
    if _is_of_class(entry, "BytesStorageMetadata"):
        place = places.get(_key(name, None))
        if place is None:
            raise CorruptCheckpointError("nothing tells where it is stored", where=where)
        return place
    match _state(entry, "TensorStorageMetadata"):
        case {
            "properties": Placeholder(state=(str(dtype), *_)),
            "size": tuple(shape),
            "chunks": list(chunks),
        } if _are_numbers(shape):
            return TensorEntry(
                dtype.removeprefix("torch."),
                shape,
                [_piece(name, chunk, len(chunks), places, where) for chunk in chunks],
            )
    raise CorruptCheckpointError("its description makes no sense", where=where)


def _piece(name: str, chunk: object, count: int, places: Mapping[str, Place], where: str) -> Piece:
    match _state(chunk, "ChunkStorageMetadata"):
        case {"offsets": tuple(offsets), "sizes": tuple(sizes)} if _are_numbers(offsets) and _are_numbers(
            sizes
        ):
            if 0 in sizes:
                return Piece(offsets, sizes, None)
            place = places.get(_key(name, offsets))
            if place is None and count == 1:
                place = places.get(_key(name, None))
            if place is None:
                raise CorruptCheckpointError(
                    f"nothing tells where its piece at {list(offsets)} is stored", where=where
                )
            return Piece(offsets, sizes, place)
    raise CorruptCheckpointError("the description of a piece makes no sense", where=where)


def _are_numbers(values: object) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= _MAX_NUMBERS
        and all(type(value) is int and 0 <= value < _MAX_NUMBER for value in values)
    )


def _paths(data: object, entries: Mapping[str, object]) -> dict[str, tuple[str | int, ...]]:
    """The default planner's table of flattened names. Another planner's data is its own affair."""
    if not isinstance(data, dict):
        return {}
    return {
        name: path
        for name, path in data.items()
        if isinstance(name, str)
        and name in entries
        and isinstance(path, tuple)
        and 0 < len(path) <= _MAX_NUMBERS
        and all(isinstance(step, str) or (type(step) is int and 0 <= step < _MAX_NUMBER) for step in path)
    }
