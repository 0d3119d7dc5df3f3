"""A file read field by field: in small pieces where they are far apart, in large ones where they are not."""

from __future__ import annotations

from torchgraft.storage.byte_file import ByteFile

__all__ = ["Window"]

_LEAST, _MOST = 1 << 12, 1 << 17


class Window:
    """The bytes around the place that is read, held as `bytes`.

    A jump loads a page only, so that passing over tensors doesn't load them; whoever reads on gets more
    each time, so that a long header costs few loads.

    Args:
        file: The file.
    """

    __slots__ = ("_base", "_bytes", "_file", "_size")

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._base = 0
        self._bytes = b""
        self._size = _LEAST

    def at(self, place: int, need: int) -> tuple[bytes, int]:
        """Bytes, and where in them `place` is: `need` bytes follow there, or all that the file has."""
        inside = place - self._base
        if inside >= 0 and inside + need <= len(self._bytes):
            return self._bytes, inside
        reads_on = 0 <= inside <= len(self._bytes)
        self._size = min(2 * self._size, _MOST) if reads_on else _LEAST
        self._base = place
        self._bytes = self._file.data[place : place + max(self._size, need)]
        return self._bytes, 0
