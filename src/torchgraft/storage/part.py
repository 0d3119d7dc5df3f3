"""A part of a file as a file of its own: a checkpoint that is stored inside another file."""

from __future__ import annotations

from typing import overload

from torchgraft.errors import CorruptCheckpointError
from torchgraft.storage.byte_file import ByteFile, ByteSource, is_verified

__all__ = ["FilePart"]

_WINDOW = 1 << 16


class FilePart:
    """`length` bytes of a file from `offset` on; nothing is copied, nothing outside of them can be read.

    Args:
        file: The file it is in.
        offset: Where it begins.
        length: How many bytes it has.
        label: What it is, for messages.

    Attributes:
        name: The file's name and the label.
        path: `None`: no file on the disk holds these bytes alone.
        size: Its length.
        whole: The file it is in.
        offset: Where it begins there.

    Raises:
        CorruptCheckpointError: It does not lie within the file.
    """

    __slots__ = ("name", "offset", "path", "size", "whole")

    def __init__(self, file: ByteFile, offset: int, length: int, label: str) -> None:
        self.name = f"{file.name}: {label}"
        self.path = None
        self.size = length
        if offset < 0 or length < 0 or offset + length > file.size:
            raise CorruptCheckpointError(
                f"{length} bytes at {offset} are wanted, but the file has {file.size}",
                where=self.name,
                hint="the file may be truncated: download or save it again",
            )
        self.whole = file
        self.offset = offset

    @property
    def verify(self) -> bool:
        """Whether archives in it are to be held against their checksums."""
        return is_verified(self.whole)

    @property
    def data(self) -> ByteSource:
        """All of it, for reading bit by bit."""
        return _PartData(self.whole.data, self.offset, self.size)

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes `offset … offset + length` of the part.

        Raises:
            CorruptCheckpointError: The part ends before, or a number is negative.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptCheckpointError(
                f"{length} bytes at {offset} are wanted, but it has {self.size}",
                where=self.name,
                hint="the file may be truncated: download or save it again",
            )
        return self.whole.view(self.offset + offset, length)


class _PartData:
    """A `ByteSource` that shows a part of another."""

    __slots__ = ("_length", "_offset", "_whole")

    def __init__(self, whole: ByteSource, offset: int, length: int) -> None:
        self._whole = whole
        self._offset = offset
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int, /) -> int: ...
    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...
    def __getitem__(self, place: int | slice, /) -> int | bytes:
        if isinstance(place, slice):
            start, stop, _ = slice(place.start, place.stop).indices(self._length)
            return self._whole[self._offset + start : self._offset + max(start, stop)]
        if not -self._length <= place < self._length:
            raise IndexError("index out of range")
        return self._whole[self._offset + place % self._length]

    def find(self, needle: bytes, start: int, /) -> int:
        """Where the needle begins, or -1. The whole's `find` would search on beyond the part."""
        for at in range(max(start, 0), self._length - len(needle) + 1, _WINDOW):
            found = self[at : at + _WINDOW + len(needle) - 1].find(needle)
            if found >= 0:
                return at + found
        return -1
