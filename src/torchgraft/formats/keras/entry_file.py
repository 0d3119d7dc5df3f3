"""An entry of a `.keras` archive as a file of its own."""

from __future__ import annotations

from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.archives.zip_directory import Entry
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.memory import MemoryFile
from torchgraft.storage.part import FilePart

__all__ = ["FREELY_INFLATED", "entry_file"]

_HONEST_RATIO = 8
FREELY_INFLATED = 1 << 26
"""Weights hardly compress: what inflates more than 8-fold is nearly all zeros. Up to 64 MiB it may."""


def entry_file(file: ByteFile, entry: Entry, freely: int) -> ByteFile:
    """An entry as a file: a part of the archive where it is stored as it is, else inflated."""
    if not entry.deflated:
        if entry.verify:
            entry.part(0, 0)  # holds the whole entry against its checksum
        return FilePart(file, entry.offset, entry.size, entry.name)
    name = f"{file.name}: {entry.name}"
    if entry.size > max(freely, _HONEST_RATIO * entry.stored):
        raise UnsafeCheckpointError(
            f"it would inflate {entry.stored} bytes to {entry.size}",
            where=name,
            hint="if it is what you expect, unzip it and open the file",
        )
    return MemoryFile(name, entry.view())
