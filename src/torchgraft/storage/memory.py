"""Bytes in memory as a file: what was compressed inside another file, once it has been inflated."""

from __future__ import annotations

from typing import overload

from torchgraft.errors import CorruptCheckpointError

__all__ = ["MemoryFile"]


class MemoryFile:
    """Bytes in memory, not copied.

    Args:
        name: What they are, for messages.
        content: The bytes, writable.

    Attributes:
        name: The same.
        path: `None`: no file on the disk holds these bytes.
        size: How many there are.
        data: The bytes, for reading bit by bit.
    """

    __slots__ = ("_content", "data", "name", "path", "size")

    def __init__(self, name: str, content: memoryview) -> None:
        self.name = name
        self.path = None
        self.size = len(content)
        self.data = _MemoryData(content)
        self._content = content

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes `offset … offset + length`.

        Raises:
            CorruptCheckpointError: There are fewer, or a number is negative.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptCheckpointError(
                f"{length} bytes at {offset} are wanted, but it has {self.size}", where=self.name
            )
        return self._content[offset : offset + length]


class _MemoryData:
    """A `ByteSource` over memory."""

    __slots__ = ("_content",)

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def __len__(self) -> int:
        return len(self._content)

    @overload
    def __getitem__(self, place: int, /) -> int: ...
    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...
    def __getitem__(self, place: int | slice, /) -> int | bytes:
        if isinstance(place, slice):
            return bytes(self._content[place])
        return self._content[place]

    def find(self, needle: bytes, start: int, /) -> int:
        """Where the needle begins, or -1."""
        return bytes(self._content).find(needle, start)
