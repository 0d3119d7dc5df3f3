"""The entries of a zip archive, each checked to be what the directory says, where it says.

Written out here because `zipfile` trusts offsets and sizes until an entry is read, and because a file
of 100,000 tensors has as many entries. The format is PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import struct

from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.archives.zip_entry import DEFLATED, LOCAL_SIZE, STORED, Entry, damaged
from torchgraft.formats.archives.zip_table import ZipTable
from torchgraft.storage.byte_file import ByteFile

__all__ = ["Entry", "is_zip", "read_directory"]

_END = struct.Struct("<4s4H2LH")
_LOCATOR64 = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_ENCRYPTED = 0x1
_MAX_RATIO = 1032  # deflate can't do better
_ONE_BY_ONE = 64
"""Records read one by one before it is tried again whether those that follow are alike."""


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so claims to be a zip archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read_directory(file: ByteFile) -> ZipTable:
    """All entries by name, in the directory's order.

    Raises:
        CorruptCheckpointError: The archive is truncated, or its directory and entries differ.
        UnsafeCheckpointError: Entries overlap, share a name, or claim an impossible compression.
    """
    table = ZipTable(file)
    try:
        count, start, end = _find_directory(file)
        directory = bytes(file.data[start:end])
        at = left_alone = 0
        while len(table.names) < count:
            if left_alone:
                left_alone -= 1
            elif (after := table.add_alike(directory, at, count)) > at:
                at = after
                continue
            else:
                left_alone = _ONE_BY_ONE
            at = _read_entry(file, directory, at, table)
    except (struct.error, IndexError, ValueError) as error:
        raise damaged(file, str(error)) from error
    table.finish(start)
    return table


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


def _read_entry(file: ByteFile, directory: bytes, at: int, table: ZipTable) -> int:
    """Add the entry whose directory record is at `at`; where the next record is."""
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
    after: int = at + 46 + name_size + extra_size + note_size
    if magic != b"PK\x01\x02" or after > len(directory):
        raise ValueError("a directory record is damaged")
    raw_name = directory[at + 46 : at + 46 + name_size]
    if 0xFFFFFFFF in (stored, size, local):
        extra = directory[at + 46 + name_size : at + 46 + name_size + extra_size]
        size, stored, local = _large(extra, size, stored, local)
    name = raw_name.decode("utf-8")
    shown = f"entry {name[:200]!r}"
    if disk or flags & _ENCRYPTED or method not in (STORED, DEFLATED):
        raise ValueError(f"{shown} is encrypted or compressed in an uncommon way")
    if local + LOCAL_SIZE + name_size + stored > file.size:
        raise ValueError(f"{shown} lies outside of it")
    if method == STORED and size != stored:
        raise ValueError(f"{shown} is not compressed, but of another size than its data")
    if size > stored * _MAX_RATIO:
        raise UnsafeCheckpointError(f"{shown} claims to inflate {stored} bytes to {size}", where=file.name)
    table.add(name, local, LOCAL_SIZE + name_size, stored, size, crc, deflated=method == DEFLATED)
    return after


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
