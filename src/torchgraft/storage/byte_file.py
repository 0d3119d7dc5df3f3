"""What a container is read from: bytes at offsets, wherever they are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, overload

__all__ = ["ByteFile", "ByteSource", "is_verified"]


class ByteSource(Protocol):
    """`bytes` and `mmap`: indexing gives a number, slicing a copy."""

    @overload
    def __getitem__(self, place: int, /) -> int: ...
    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...
    def __len__(self) -> int: ...
    def find(self, needle: bytes, start: int, /) -> int:
        """Where the needle begins, or -1."""
        ...


class ByteFile(Protocol):
    """A file of known size, any part of which can be had."""

    @property
    def name(self) -> str:
        """Its path or address, for messages."""
        ...

    @property
    def path(self) -> Path | None:
        """Where it is on this machine, if it is."""
        ...

    @property
    def size(self) -> int:
        """Its length in bytes."""
        ...

    @property
    def data(self) -> ByteSource:
        """All of it, for reading bit by bit."""
        ...

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes `offset … offset + length`, without a copy where that is possible.

        Raises:
            CorruptCheckpointError: The file ends before, or a number is negative.
        """
        ...


def is_verified(file: ByteFile) -> bool:
    """Whether archives in this file are to be held against their checksums; such a file has `verify` set."""
    return bool(getattr(file, "verify", False))
