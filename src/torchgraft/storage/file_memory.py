"""Memory of one's own that holds parts of mapped files: the files mapped once more, or read in one go."""

from __future__ import annotations

import mmap
import os
from bisect import bisect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

from torchgraft.errors import CorruptCheckpointError
from torchgraft.storage.local import MappedFile, map_privately, mapped_at

__all__ = ["FileMemory", "Place"]

_NEAR = 64 << 10
"""Bytes between two parts that are read along rather than skipped."""

_PIECE = 16 << 20
_READERS = 2

Place: TypeAlias = tuple[int, int, int]
"""Of a part: its file's number, its offset and its length."""


@dataclass(slots=True)
class _Source:
    file: MappedFile
    descriptor: int | None
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    buffers: list[tuple[int, mmap.mmap]] = field(default_factory=list)


class FileMemory:
    """Parts of mapped files in memory that nobody else writes to or reads.

    Reserve the parts first, then `fill`, then ask for each. Mapped once more, nothing is read before it is
    touched, and a page that is written to is copied then. Read in one go, which takes longer, all can be
    written to at full speed.

    Args:
        read: Read them, rather than map the file.
    """

    def __init__(self, *, read: bool) -> None:
        self._read = read
        self._sources: list[_Source] = []

    def reserve(self, address: int, length: int) -> Place | None:
        """The part that is at this address of memory by now.

        Returns:
            What stands for it. `None` if it is no file's that is still the same, or some of its bytes are
            reserved: two owners would write to the same memory.
        """
        found = mapped_at(address, length)
        if found is None:
            return None
        file, offset = found
        number = next((n for n, source in enumerate(self._sources) if source.file is file), None)
        if number is None:
            number = len(self._sources)
            self._sources.append(_Source(file, file.reopened()))
        source = self._sources[number]
        at = bisect(source.starts, offset)
        taken = (at > 0 and source.ends[at - 1] > offset) or (
            at < len(source.starts) and source.starts[at] < offset + length
        )
        if source.descriptor is None or taken:
            return None
        source.starts.insert(at, offset)
        source.ends.insert(at, offset + length)
        return number, offset, length

    def fill(self) -> None:
        """Have all that was reserved in memory.

        Raises:
            CorruptCheckpointError: A file has become shorter meanwhile.
        """
        try:
            for source in self._sources:
                if source.starts and source.descriptor is not None:
                    source.buffers = (
                        list(_read_runs(source)) if self._read else [(0, map_privately(source.descriptor))]
                    )
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the files; what was filled stays."""
        for source in self._sources:
            if source.descriptor is not None:
                os.close(source.descriptor)
                source.descriptor = None

    def part(self, place: Place) -> tuple[mmap.mmap, int]:
        """The memory that holds it, and where in that it begins."""
        number, offset, _ = place
        buffers = self._sources[number].buffers
        begin, buffer = buffers[bisect(buffers, offset, key=lambda one: one[0]) - 1]
        return buffer, offset - begin


def _read_runs(source: _Source) -> Iterator[tuple[int, mmap.mmap]]:
    """Neighbouring parts in one piece of memory each."""
    runs: list[list[int]] = []
    for start, end in zip(source.starts, source.ends, strict=True):
        if runs and start - runs[-1][1] <= _NEAR:
            runs[-1][1] = max(runs[-1][1], end)
        else:
            # Numbers begin at multiples of their size in the file's pages: so they do in memory.
            runs.append([start - start % mmap.PAGESIZE, end])
    for begin, end in runs:
        buffer = mmap.mmap(-1, end - begin)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            buffer.madvise(mmap.MADV_HUGEPAGE)  # else every 4 KiB of it cost a fault
        _read_into(source, memoryview(buffer), begin)
        yield begin, buffer


def _read_into(source: _Source, buffer: memoryview, begin: int) -> None:
    def piece(start: int) -> None:
        view = buffer[start : start + _PIECE]
        done = 0
        while done < len(view):
            count = _read_at(source.descriptor, view[done:], begin + start + done)
            if not count:
                raise CorruptCheckpointError(
                    "has become shorter while it was read", where=source.file.name, hint="open it again"
                )
            done += count

    starts = range(0, len(buffer), _PIECE)
    if len(starts) == 1 or not hasattr(os, "preadv"):
        for start in starts:
            piece(start)
        return
    with ThreadPoolExecutor(_READERS) as readers:
        for _ in readers.map(piece, starts):
            pass  # what went wrong in a thread is raised here


def _read_at(descriptor: int | None, view: memoryview, offset: int) -> int:
    assert descriptor is not None
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    content = os.read(descriptor, len(view))
    view[: len(content)] = content
    return len(content)
