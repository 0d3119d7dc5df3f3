"""`torch.distributed.checkpoint`'s folder: a pickled `.metadata`, and the tensors' pieces in `.distcp` files.

A piece is what `torch.save` wrote, or lies in a safetensors file that begins there. Opening reads `.metadata`
and the small values; a tensor's pieces are opened when they are read.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.archives.zip_directory import is_zip, read_directory
from torchgraft.formats.chunked_tensor import Chunk, TilingCheck, chunked_tensor
from torchgraft.formats.container import Container, FolderFormat, OpenFile
from torchgraft.formats.folders.distributed_metadata import Metadata, Piece, Place, TensorEntry, read_metadata
from torchgraft.formats.folders.unflattening import unflatten
from torchgraft.formats.safetensors import SAFETENSORS
from torchgraft.formats.torch.zip_file import TORCH_ZIP
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import far_spans
from torchgraft.storage.folder import Folder, at_once
from torchgraft.storage.part import FilePart
from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import Span, TensorRef

__all__ = ["TORCH_DISTRIBUTED"]

_METADATA = ".metadata"
_MAX_FILES = 10_000  # a process may map 65,530
_MAX_VALUES = 2_000
_MAX_VALUE_BYTES = 1 << 16
_SHOWN = 5
_HEAD = 16


def _recognise(folder: Folder) -> bool:
    return _METADATA in folder.files


def _read(folder: Folder, _open_file: OpenFile) -> Container:
    metadata = read_metadata(folder.open(_METADATA))
    blobs = _Blobs(_open_files(folder, metadata))
    tiling = TilingCheck()
    small = {name: entry for name, entry in metadata.entries.items() if _is_small(entry)}
    read = dict(itertools.islice(small.items(), _MAX_VALUES))
    values: dict[str, object] = {}
    with prefetched(span for place in read.values() for span in blobs.spans(place)):
        for name, entry in metadata.entries.items():
            if isinstance(entry, TensorEntry):
                where = f"{folder.name}: {name[:200]}"
                chunks = [_chunk(name, piece, blobs, where) for piece in entry.pieces]
                values[name] = chunked_tensor(name, entry.dtype, entry.shape, chunks, tiling, where)
            else:
                known = name in read
                values[name] = blobs.open(name, entry) if known else f"{entry.length} bytes in {entry.file}"
    tree = unflatten(values, metadata.paths, where=folder.name)
    facts = {"version": metadata.version} if metadata.version else {}
    return Container(folder.name, folder.path, "torch distributed", tree, facts)


def _is_small(entry: TensorEntry | Place) -> TypeGuard[Place]:
    """Whether it is a value that is read at once."""
    return isinstance(entry, Place) and entry.length <= _MAX_VALUE_BYTES


def _open_files(folder: Folder, metadata: Metadata) -> dict[str, ByteFile]:
    """The files that the metadata names; each place is seen to be in its file, and in no other's way."""
    places: dict[str, list[tuple[int, int, str]]] = {}
    for name, place in _places(metadata.entries):
        places.setdefault(place.file, []).append((place.offset, place.offset + place.length, name))
    if len(places) > _MAX_FILES:
        raise UnsafeCheckpointError(
            f"its metadata names {len(places):,} files; the limit is {_MAX_FILES:,}", where=folder.name
        )
    sizes = at_once(folder, list(places), folder.size)
    if missing := [name[:200] for name, size in zip(places, sizes, strict=True) if size is None]:
        shown = ", ".join(missing[:_SHOWN]) + (
            f", … ({len(missing):,} in all)" if len(missing) > _SHOWN else ""
        )
        raise CorruptCheckpointError(
            f"files that its metadata names are missing: {shown}",
            where=folder.name,
            hint="copy or download the whole folder again; each rank has files of its own",
        )
    files = dict(zip(places, at_once(folder, list(places), folder.open), strict=True))
    for name, spans in places.items():
        _check_spans(files[name], spans)
    return files


def _places(entries: Mapping[str, TensorEntry | Place]) -> Iterable[tuple[str, Place]]:
    for name, entry in entries.items():
        if isinstance(entry, Place):
            yield name, entry
        else:
            yield from ((name, piece.place) for piece in entry.pieces if piece.place is not None)


def _check_spans(file: ByteFile, spans: list[tuple[int, int, str]]) -> None:
    spans.sort()
    before = (0, 0, "")
    for span in spans:
        start, end, name = span
        if end > file.size:
            raise CorruptCheckpointError(
                f"is said to be at {start} to {end} of a file of {file.size} bytes",
                where=f"{file.name}: {name[:200]}",
                hint="the file may be truncated: copy or download it again",
            )
        # All tensors of a safetensors file are told to be where that file begins.
        overlaps = start < before[1]
        shared = (
            overlaps and start == before[0] and not is_zip(bytes(file.view(start, min(4, file.size - start))))
        )
        if overlaps and not shared:
            raise UnsafeCheckpointError(
                f"is stored in the same bytes as {before[2][:200]!r}", where=f"{file.name}: {name[:200]}"
            )
        before = max(before, span, key=lambda known: known[1]) if shared else span


def _chunk(name: str, piece: Piece, blobs: _Blobs, where: str) -> Chunk:
    place = piece.place

    def open_piece() -> TensorRef:
        assert place is not None  # empty pieces are never opened
        found = blobs.open(name, place)
        if not isinstance(found, TensorRef):
            raise CorruptCheckpointError("holds something that is no tensor", where=where)
        return found

    spans = functools.partial(blobs.spans, place) if place else tuple
    return Chunk(piece.offsets, piece.sizes, place.length if place else 0, where, open_piece, spans)


class _Blobs:
    """What is stored at a place of a file: a tensor or another value."""

    def __init__(self, files: Mapping[str, ByteFile]) -> None:
        self._files = files
        self._tables: dict[tuple[str, int], object] = {}

    def spans(self, place: Place) -> Sequence[Span]:
        """Where it is, if that is far away."""
        return far_spans(self._files[place.file], place.offset, place.length)

    def open(self, name: str, place: Place) -> object:
        """The value of that name."""
        file = self._files[place.file]
        head = bytes(file.view(place.offset, min(_HEAD, file.size - place.offset)))
        if is_zip(head):
            part = FilePart(file, place.offset, place.length, name[:200])
            return TORCH_ZIP.read(part, read_directory(part)).tree
        if not SAFETENSORS.recognise(head):
            raise CorruptCheckpointError(
                "is neither stored by torch.save nor as safetensors",
                where=f"{file.name}: {name[:200]}",
                hint="the file may be damaged: copy or download it again",
            )
        table = self._tables.get((place.file, place.offset))
        if table is None:
            part = FilePart(file, place.offset, file.size - place.offset, f"safetensors at {place.offset}")
            table = self._tables[place.file, place.offset] = SAFETENSORS.read(part).tree
        assert isinstance(table, dict)
        if name not in table:
            raise CorruptCheckpointError("is not in this file", where=f"{file.name}: {name[:200]}")
        return table[name]


TORCH_DISTRIBUTED = FolderFormat("torch distributed", _recognise, _read, _METADATA)
