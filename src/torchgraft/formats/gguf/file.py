"""GGUF, llama.cpp's format: typed metadata, then a table of tensors, then their bytes.

The format is documented in ggml's docs/gguf.md. Dimensions are written with the one whose elements are
neighbours first; here they are given in PyTorch's order. Tensors in blocks of a few bits are float32 here.
"""

from __future__ import annotations

import functools
import math
from itertools import pairwise
from typing import NamedTuple

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.gguf.blocks import block_tensor, unreadable_tensor
from torchgraft.formats.gguf.cursor import Cursor
from torchgraft.formats.gguf.types import BLOCKS, PLAIN
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import FarRange
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["GGUF"]

_MAGIC = b"GGUF"
_VERSIONS = {2, 3}
_MAX_KEYS = 100_000
_MAX_TENSORS = 300_000
_MAX_DIMENSIONS = 8  # ggml has four
_LEAST_KEY, _LEAST_TENSOR = 13, 24  # bytes that an entry takes at least
_ALIGNMENT = "general.alignment"


class _Entry(NamedTuple):
    """A row of the table of tensors."""

    name: str
    shape: tuple[int, ...]
    code: int
    offset: int


def _recognise(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def _read(file: ByteFile) -> Container:
    version = int.from_bytes(file.view(4, 4), "little")
    big = version & 0xFFFF == 0
    version = version >> 24 if big else version
    if version not in _VERSIONS:
        raise CheckpointError(
            f"this is GGUF version {version}; versions 2 and 3 can be opened",
            where=file.name,
            hint="convert it again with a llama.cpp of 2024 or later",
        )
    cursor = Cursor(file, ">" if big else "<")
    cursor.at = 8
    tensors = cursor.number("Q", "the number of tensors")
    keys = cursor.number("Q", "the number of keys")
    if keys * _LEAST_KEY + tensors * _LEAST_TENSOR > cursor.left:
        raise cursor.damaged(f"it is said to hold {keys} keys and {tensors} tensors, more than its bytes can")
    if keys > _MAX_KEYS or tensors > _MAX_TENSORS:
        raise UnsafeCheckpointError(
            f"it holds {keys:,} keys (limit {_MAX_KEYS:,}) and {tensors:,} tensors (limit {_MAX_TENSORS:,})",
            where=file.name,
        )
    metadata = _read_metadata(cursor, keys)
    table = _read_table(cursor, tensors)
    alignment = metadata.get(_ALIGNMENT, 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise cursor.damaged(f"{_ALIGNMENT} is {str(alignment)[:40]!r}, not a power of two")
    start = -(-cursor.at // alignment) * alignment
    sizes = _check_places(file, table, start, alignment)
    tree = {
        entry.name: _tensor(file, entry, start + entry.offset, size, big=big)
        for entry, size in zip(table, sizes, strict=True)
    }
    metadata["GGUF version"] = f"{version}, big-endian" if big else version
    if stored_as := {entry.name: _kind(entry.code) for entry in table if entry.code not in PLAIN}:
        metadata["stored as (read as float32)"] = stored_as
    return Container(file.name, file.path, "gguf", tree, metadata)


def _check_places(file: ByteFile, table: list[_Entry], start: int, alignment: int) -> list[int]:
    """Bytes that each tensor takes, when all lie within the file and none over another."""
    sizes: list[int] = []
    spans: list[tuple[int, int, str]] = []
    for entry in table:
        where = f"{file.name}: {entry.name[:200]}"
        if entry.offset % alignment:
            raise CorruptCheckpointError(
                f"it begins at {entry.offset}, which is no multiple of {alignment}", where=where
            )
        size = _size(entry, where)
        if start + entry.offset + size > file.size:
            raise CorruptCheckpointError(
                f"its {size} bytes at {start + entry.offset} reach beyond the file's {file.size}",
                where=where,
                hint="the file may be truncated: download it again",
            )
        if size:
            spans.append((entry.offset, entry.offset + size, entry.name))
        sizes.append(size)
    spans.sort()
    for (_, end, _), (after, _, name) in pairwise(spans):
        if after < end:
            raise UnsafeCheckpointError("it overlaps another tensor", where=f"{file.name}: {name[:200]}")
    return sizes


def _kind(code: int) -> str:
    return BLOCKS[code][0] if code in BLOCKS else f"type {code}"


def _read_metadata(cursor: Cursor, count: int) -> dict[str, object]:
    metadata: dict[str, object] = {}
    for _ in range(count):
        key = cursor.name("a key")
        if key in metadata:
            raise cursor.damaged(f"key {key[:200]!r} is there twice")
        metadata[key] = cursor.value(f"key {key[:200]!r}")
    return metadata


def _read_table(cursor: Cursor, count: int) -> list[_Entry]:
    table: list[_Entry] = []
    seen: set[str] = set()
    for _ in range(count):
        name = cursor.name("a tensor's name")
        if name in seen:
            raise cursor.damaged(f"tensor {name[:200]!r} is there twice")
        seen.add(name)
        shown = f"tensor {name[:200]!r}"
        dimensions = cursor.number("I", shown)
        if dimensions > _MAX_DIMENSIONS:
            raise cursor.damaged(f"{shown} is said to have {dimensions} dimensions")
        sizes = [cursor.number("Q", shown) for _ in range(dimensions)]
        code = cursor.number("I", shown)
        table.append(_Entry(name, tuple(reversed(sizes)), code, cursor.number("Q", shown)))
    return table


def _size(entry: _Entry, where: str) -> int:
    """Bytes that its elements take; 0 where the type isn't known."""
    numel = math.prod(entry.shape)
    if entry.code in PLAIN:
        return numel * DTYPE_BITS[PLAIN[entry.code]] // 8
    if entry.code not in BLOCKS:
        return 0
    kind, elements, width = BLOCKS[entry.code]
    if not entry.shape or entry.shape[-1] % elements:
        raise CorruptCheckpointError(
            f"its rows, of shape {list(entry.shape)}, don't consist of {kind}'s blocks of {elements}",
            where=where,
        )
    return numel // elements * width


def _tensor(file: ByteFile, entry: _Entry, start: int, size: int, *, big: bool) -> TensorRef:
    name, shape, code, _ = entry
    where = f"{file.name}: {name[:200]}"
    if code in PLAIN:
        dtype = PLAIN[code]
        load = functools.partial(file.view, start, size)
        storage = Storage(where, str(start), dtype, size, load, big, FarRange.of(file, start))
        return stored_tensor(storage, dtype, 0, shape, contiguous_stride(shape), name=name)
    if math.prod(max(length, 1) for length in shape) >= 1 << 62:
        raise CorruptCheckpointError(f"shape {list(shape)} is impossible", where=where)
    if code not in BLOCKS:
        return unreadable_tensor(name, shape, where, f"it is of GGUF type {code}, which is not known")
    if big:
        return unreadable_tensor(name, shape, where, f"it is of type {BLOCKS[code][0]} in a big-endian file")
    return block_tensor(file, name, start, size, code, shape)


GGUF = Format("gguf", _recognise, _read)
