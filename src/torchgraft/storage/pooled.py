"""Mapped files of which only so many are held at a time: a mapping keeps its file open, and a process may
have a thousand files open while a checkpoint may have ten thousand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TypeAlias

from torchgraft.errors import CheckpointError
from torchgraft.storage.byte_file import ByteSource
from torchgraft.storage.local import MappedFile

__all__ = ["MappingPool", "PooledFile"]


Identity: TypeAlias = tuple[int, ...]
"""Device, number, length and time of change: what tells a file from one that took its name."""


class MappingPool:
    """The mappings that are held: those that were used last.

    Args:
        limit: How many. A view keeps its own mapping alive beyond that.
    """

    def __init__(self, limit: int = 128) -> None:
        self._limit = limit
        self._held: OrderedDict[Path, tuple[MappedFile, Identity]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> tuple[MappedFile, Identity]:
        """The mapped file, and which file it is."""
        with self._lock:
            held = self._held.get(path)
            if held is not None:
                self._held.move_to_end(path)
                return held
            made = self._held[path] = (MappedFile(path), _identity(path))
            if len(self._held) > self._limit:
                self._held.popitem(last=False)
            return made

    def forget(self) -> None:
        """Let the system have back the memory of what was read; see `MappedFile.forget`."""
        with self._lock:
            for held, _ in self._held.values():
                held.forget()


class PooledFile:
    """A regular file that is mapped whenever it is read and not mapped already. See `MappedFile`.

    Args:
        path: The file.
        pool: Holds its mapping for a while.
        verify: Archives in it are to be held against their checksums when they are read.

    Attributes:
        path: The file.
        size: Its length in bytes.
        verify: The same as the argument.

    Raises:
        CheckpointError: As for `MappedFile`; and, when it is read, if it was replaced since it was opened.
    """

    __slots__ = ("_identity", "_pool", "path", "size", "verify")

    def __init__(self, path: Path, pool: MappingPool, *, verify: bool = False) -> None:
        self.path = path
        self.verify = verify
        self._pool = pool
        mapped, self._identity = pool.get(path)
        self.size = mapped.size

    @property
    def name(self) -> str:
        """Its path, for messages."""
        return str(self.path)

    @property
    def data(self) -> ByteSource:
        """The mapped bytes. Ask for them anew rather than keep them."""
        return self._mapped().data

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes `offset … offset + length`, without a copy.

        Raises:
            CorruptCheckpointError: The file ends before, or a number is negative.
            CheckpointError: It was replaced since it was opened.
        """
        return self._mapped().view(offset, length)

    def forget(self, offset: int, length: int) -> None:
        """Let the system have back the memory of these bytes; see `MappedFile.forget`."""
        self._mapped().forget(offset, length)

    def _mapped(self) -> MappedFile:
        mapped, identity = self._pool.get(self.path)
        if identity != self._identity:
            raise CheckpointError(
                "the file has changed since the checkpoint was opened", where=self.name, hint="open it again"
            )
        return mapped


def _identity(path: Path) -> Identity:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
