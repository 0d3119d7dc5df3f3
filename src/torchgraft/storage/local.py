"""A local file as bytes that are read when they are touched."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
import sys
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from torchgraft.errors import CheckpointError, CorruptCheckpointError

__all__ = ["MappedFile", "map_privately", "mapped_at"]

_NO_RESERVE = 0x4000  # Linux's MAP_NORESERVE; the mmap module names it from Python 3.13 on


class MappedFile:
    """A regular file, mapped privately: writing to a view never reaches the file.

    The mapping is writable because PyTorch warns about read-only buffers; a page that is written to
    becomes the process's own copy. It lives as long as the object or any view of it.

    Args:
        path: The file.
        verify: Archives in it are to be held against their checksums when they are read.

    Attributes:
        path: The file.
        verify: The same.
        size: Its length in bytes.
        data: The mapped bytes: indexing gives a number, slicing a copy, `find` searches.

    Raises:
        CheckpointError: It can't be opened, or is a folder, a pipe or a device.
        CorruptCheckpointError: It is empty.
    """

    __slots__ = ("__weakref__", "_address", "_identity", "data", "path", "size", "verify")

    def __init__(self, path: str | os.PathLike[str], *, verify: bool = False) -> None:
        self.path = Path(path)
        self.verify = verify
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            _refuse_special(self.path, self.path.stat().st_mode)
            descriptor = os.open(self.path, flags)
            try:
                status = os.fstat(descriptor)
                _refuse_special(self.path, status.st_mode)
                self.size = status.st_size
                self._identity = _identity(status)
                if not self.size:
                    raise CorruptCheckpointError(
                        "the file is empty (0 bytes)", where=str(self.path), hint="download or save it again"
                    )
                self.data = map_privately(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise CheckpointError("no such file", where=str(self.path), hint="check the path") from error
        except PermissionError as error:
            raise CheckpointError(
                "no permission to read it", where=str(self.path), hint=f"chmod u+r {self.path}"
            ) from error
        except (OSError, ValueError) as error:  # ValueError: a path with a null character
            raise CheckpointError(
                f"can't be opened: {error}", where=str(self.path), hint="check the path: ls -l"
            ) from error

        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.data))
        with _LOCK:
            _LIVE.add(self)

    @property
    def name(self) -> str:
        """Its path, for messages."""
        return str(self.path)

    def reopened(self) -> int | None:
        """A descriptor of the same file, for reading; `None` if it changed, or another stands there now."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        if _identity(os.fstat(descriptor)) == self._identity:
            return descriptor
        os.close(descriptor)
        return None

    def offset_of(self, address: int, length: int) -> int | None:
        """Where in the file the bytes at this address of memory are from; `None` if they are others'."""
        offset = address - self._address
        return offset if offset >= 0 and offset + length <= self.size else None

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes `offset … offset + length`, without a copy.

        Raises:
            CorruptCheckpointError: The file ends before, or a number is negative.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptCheckpointError(
                f"{length} bytes at {offset} are wanted, but the file has {self.size}",
                where=str(self.path),
                hint="the file may be truncated: download or save it again",
            )
        return memoryview(self.data)[offset : offset + length]

    def forget(self, offset: int = 0, length: int | None = None) -> None:
        """Let the system have back the memory of these bytes; they are read from the disk when needed again.

        What was written into a view of them is lost. Where the system can't do that, nothing happens.
        """
        length = self.size - offset if length is None else length
        begin = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = offset + length
        if end < self.size:
            end -= end % mmap.PAGESIZE
        if begin < end and hasattr(mmap, "MADV_DONTNEED"):
            self.data.madvise(mmap.MADV_DONTNEED, begin, end - begin)


_LIVE: WeakSet[MappedFile] = WeakSet()
_LOCK = Lock()
"""A set can't be walked through while another thread adds to it."""


def mapped_at(address: int, length: int) -> tuple[MappedFile, int] | None:
    """The mapped file to which these bytes of memory belong, and where in it they are."""
    with _LOCK:
        files = list(_LIVE)
    for file in files:
        offset = file.offset_of(address, length)
        if offset is not None:
            return file, offset
    return None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _refuse_special(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        inside = sorted(p.name for p in path.iterdir() if p.suffix in {".safetensors", ".pth", ".pt", ".bin"})
        hint = f"open a file in it: {path / inside[0]}" if inside else "open a file, not a folder"
        raise CheckpointError("this is a folder", where=str(path), hint=hint)
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise CheckpointError(
        f"this is {kind}, not a file", where=str(path), hint="write its data to a file first"
    )


def map_privately(descriptor: int) -> mmap.mmap:
    """The bytes of an open file; what is written to them never reaches it."""
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        if error.errno != errno.ENOMEM or not sys.platform.startswith("linux"):
            raise
        # The kernel refuses to set aside memory for a copy of a file larger than the machine's memory.
        return mmap.mmap(
            descriptor, 0, flags=mmap.MAP_PRIVATE | _NO_RESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
