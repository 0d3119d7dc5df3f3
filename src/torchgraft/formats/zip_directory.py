"""The entries of a zip archive, each checked to be what the directory says, where it says.

Written out here because `zipfile` trusts offsets and sizes until an entry is read, and because a file
of 100,000 tensors has as many entries. The format is PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.storage.byte_file import ByteFile

__all__ = ["Entry", "is_zip", "read_directory"]

_END = struct.Struct("<4s4H2LH")
_LOCATOR64 = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8
_MAX_RATIO = 1032  # deflate can't do better


@dataclass(slots=True, eq=False)
class Entry:
    """An entry's bytes.

    Attributes:
        file: The archive.
        name: The entry's name.
        offset: Where its data begins in the archive.
        stored: How many bytes it takes there.
        size: How many bytes it has.
        deflated: Whether it is compressed.
        crc: Its CRC-32.
    """

    file: ByteFile
    name: str
    offset: int
    stored: int
    size: int
    deflated: bool
    crc: int

    def view(self) -> memoryview:
        """Its bytes: mapped where they are stored as they are, inflated and checked otherwise."""
        raw = self.file.view(self.offset, self.stored)
        if not self.deflated:
            return raw
        where = f"{self.file.name}: {self.name}"
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = bytearray(inflater.decompress(raw, self.size + 1))
        except zlib.error as error:
            raise CorruptCheckpointError(f"the entry can't be decompressed: {error}", where=where) from error
        if len(data) != self.size or not inflater.eof or zlib.crc32(data) != self.crc:
            raise CorruptCheckpointError("the entry is not what its size and checksum say", where=where)
        return memoryview(data)


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so claims to be a zip archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read_directory(file: ByteFile) -> dict[str, Entry]:
    """All entries by name, in the directory's order.

    Raises:
        CorruptCheckpointError: The archive is truncated, or its directory and entries differ.
        UnsafeCheckpointError: Entries overlap, share a name, or claim an impossible compression.
    """
    where = file.name
    try:
        count, start, end = _find_directory(file)
        directory = file.data[start:end]
        entries: dict[str, Entry] = {}
        spans: list[tuple[int, int]] = []
        at = 0
        for _ in range(count):
            entry, span, at = _read_entry(file, directory, at)
            if entry.name in entries:
                raise UnsafeCheckpointError(f"two entries are called {entry.name!r}", where=where)
            entries[entry.name] = entry
            spans.append(span)
    except (struct.error, IndexError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    spans.sort()
    for (_, before), (after, _) in zip(spans, [*spans[1:], (start, start)], strict=True):
        if before > after:
            raise UnsafeCheckpointError("entries overlap", where=where)
    return entries


def _find_directory(file: ByteFile) -> tuple[int, int, int]:
    """Number of entries, and where the directory begins and ends."""
    tail = file.data[max(0, file.size - 65557) :]
    found = len(tail)
    while True:
        found = tail.rfind(b"PK\x05\x06", 0, found)
        if found < 0:
            raise ValueError("its end is missing")
        if found + 22 <= len(tail) and found + 22 + int.from_bytes(
            tail[found + 20 : found + 22], "little"
        ) == len(tail):
            break
    end = file.size - len(tail) + found
    _, disk, first_disk, _, count, size, start, _ = _END.unpack_from(tail, found)
    if end >= _LOCATOR64.size and file.data[end - 20 : end - 16] == b"PK\x06\x07":
        _, _, end64, _ = _LOCATOR64.unpack(file.data[end - 20 : end])
        if end64 + _END64.size > end - 20 or file.data[end64 : end64 + 4] != b"PK\x06\x06":
            raise ValueError("its end record is missing")
        _, _, _, _, disk, first_disk, _, count, size, start = _END64.unpack(
            file.data[end64 : end64 + _END64.size]
        )
        end = end64
    if disk or first_disk:
        raise ValueError("it is one of several volumes")
    if start + size > end or count * _CENTRAL.size > size:
        raise ValueError("its directory lies outside of it")
    return count, start, start + size


def _read_entry(file: ByteFile, directory: bytes, at: int) -> tuple[Entry, tuple[int, int], int]:
    """The entry whose directory record is at `at`, the span it takes, and where the next record is."""
    (
        magic,
        _,
        _,
        flags,
        method,
        _,
        _,
        crc,
        stored,
        size,
        name_size,
        extra_size,
        note_size,
        disk,
        _,
        _,
        local,
    ) = _CENTRAL.unpack_from(directory, at)
    after = at + 46 + name_size + extra_size + note_size
    if magic != b"PK\x01\x02" or after > len(directory):
        raise ValueError("a directory record is damaged")
    raw_name = directory[at + 46 : at + 46 + name_size]
    if 0xFFFFFFFF in (stored, size, local):
        extra = directory[at + 46 + name_size : at + 46 + name_size + extra_size]
        size, stored, local = _large(extra, size, stored, local)
    name = raw_name.decode("utf-8")
    if disk or flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
        raise ValueError(f"entry {name[:200]!r} is encrypted or compressed in an uncommon way")
    if local + 30 > file.size:
        raise ValueError(f"entry {name[:200]!r} lies outside of it")
    header = file.data[local : local + 30 + name_size]
    magic, _, flags, local_method, _, _, _, local_stored, local_size, local_name, local_extra = (
        _LOCAL.unpack_from(header)
    )
    offset = local + 30 + local_name + local_extra
    same = (
        magic == b"PK\x03\x04"
        and local_method == method
        and local_name == name_size
        and header[30:] == raw_name
        and (local_stored in (stored, 0xFFFFFFFF) or (flags & _SIZES_FOLLOW and not local_stored))
        and (local_size in (size, 0xFFFFFFFF) or (flags & _SIZES_FOLLOW and not local_size))
        and (method == _DEFLATED or size == stored)
    )
    if not same or offset + stored > file.size:
        raise ValueError(f"entry {name[:200]!r} is not what the directory says")
    if size > stored * _MAX_RATIO:
        raise UnsafeCheckpointError(
            f"entry {name[:200]!r} claims to inflate {stored} bytes to {size}", where=file.name
        )
    return Entry(file, name, offset, stored, size, method == _DEFLATED, crc), (local, offset + stored), after


def _large(extra: bytes, *values: int) -> tuple[int, int, int]:
    """The 64-bit values of those fields that don't fit in 32 bits: size, stored size, offset."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            size, stored, local = (next(numbers, value) if value == 0xFFFFFFFF else value for value in values)
            return size, stored, local
        at += 4 + length
    size, stored, local = values
    return size, stored, local


def _damaged(file: ByteFile, what: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"the zip archive is truncated or damaged: {what}",
        where=file.name,
        hint="download or save it again",
    )
