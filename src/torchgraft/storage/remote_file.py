"""A file far away, read in parts: headers bit by bit, tensors by the ranges that are wanted, many at once."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.storage.header_bytes import BLOCK, HeaderBytes

__all__ = ["Ranges", "RemoteFile"]

_GAP = 1 << 16
"""Ranges that are this near are fetched as one: a request costs more than these bytes."""

_MAX_RUN = 1 << 26
_PART = 1 << 23
_THREADS = 6
_ALIGNMENT = 64


class Ranges(Protocol):
    """What can read parts of a remote file; from several threads at once."""

    @property
    def name(self) -> str:
        """The address, without secrets."""
        ...

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        ...

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill a buffer with the bytes from `offset` on.

        Raises:
            FetchError: They can't be had.
        """
        ...

    def check(self) -> None:
        """Called when no part is being read.

        Raises:
            FetchError: The parts that were read are not of the file that was opened, and that was not told.
        """
        ...


class RemoteFile:
    """A `ByteFile` over ranges.

    Args:
        ranges: Reads them.
        head: The file's first bytes, where they are known already.
        verify: Archives in it are to be held against their checksums when they are read.

    Attributes:
        name: The address, without secrets.
        path: `None`: it is not on this machine.
        size: Its length in bytes.
        data: Its bytes, for reading bit by bit.
        verify: The same as the argument.
    """

    def __init__(self, ranges: Ranges, head: bytes = b"", *, verify: bool = False) -> None:
        self.verify = verify
        self.name = ranges.name
        self.path = None
        self.size = ranges.size
        self.data = HeaderBytes(
            ranges.name,
            ranges.size,
            lambda offset, into: self._read([(offset, into)]),
            head,
            self._held_view,
        )
        self._ranges = ranges
        self._held: list[list[_Run]] = []
        self._reading = threading.Lock()

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes `offset … offset + length`, writable: what was fetched ahead, or fetched now.

        Raises:
            CorruptCheckpointError: The file ends before, or a number is negative.
            FetchError: They can't be had.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptCheckpointError(
                f"{length} bytes at {offset} are wanted, but the file has {self.size}",
                where=self.name,
                hint="the file may be truncated: upload it again",
            )
        held = self._held_view(offset, length)
        if held is not None:
            return held
        run = self._new_run(offset, length)
        if length <= BLOCK:
            run.bytes[:] = self.data.read(offset, length)
        else:
            self._fill([run])
        return run.bytes

    @contextmanager
    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> Iterator[None]:
        """Fetch these ranges (offset, length) now: near ones as one, several at once.

        Within the block `view` gives memory of what came; afterwards it lives as long as such views.

        Raises:
            FetchError: They can't be had.
        """
        wanted = [(offset, length) for offset, length in ranges if self._held_view(offset, length) is None]
        runs = [self._new_run(offset, length) for offset, length in _joined(wanted, self.size)]
        self._fill(runs)
        self._held.append(runs)
        try:
            yield
        finally:
            self._held.remove(runs)

    def _held_view(self, offset: int, length: int) -> memoryview | None:
        for runs in self._held:
            number = bisect_right(runs, offset, key=lambda run: run.offset) - 1
            if number >= 0 and runs[number].holds(offset, length):
                return runs[number].view(offset, length)
        return None

    def _new_run(self, offset: int, length: int) -> _Run:
        """Memory for a run that is aligned as the run is in the file, so that tensors in it are."""
        shift = offset % _ALIGNMENT
        try:
            memory = memoryview(bytearray(shift + length))
        except MemoryError:
            raise UnsafeCheckpointError(
                f"{length:,} bytes at {offset} are more than fit in memory", where=self.name
            ) from None
        return _Run(offset, memory[shift:])

    def _fill(self, runs: list[_Run]) -> None:
        missing = [(run, *self.data.copy_known(run.offset, run.bytes)) for run in runs]
        parts = [
            (at, run.bytes[at - run.offset : min(at + _PART, end) - run.offset])
            for run, begin, end in missing
            for at in range(begin, end, _PART)
        ]
        if parts:
            self._read(parts)

    def _read(self, parts: list[tuple[int, memoryview]]) -> None:
        """Fill each buffer from its offset on, several at once, and see that they are of one file."""
        with self._reading:
            if len(parts) == 1:
                self._ranges.read_into(*parts[0])
            else:
                self._read_at_once(parts)
            self._ranges.check()

    def _read_at_once(self, parts: list[tuple[int, memoryview]]) -> None:
        executor = ThreadPoolExecutor(min(_THREADS, len(parts)), thread_name_prefix="torchgraft")
        try:
            for done in [executor.submit(self._ranges.read_into, *part) for part in parts]:
                done.result()
        finally:
            executor.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Bytes of the file from `offset` on."""

    offset: int
    bytes: memoryview

    def holds(self, offset: int, length: int) -> bool:
        return self.offset <= offset and offset + length <= self.offset + len(self.bytes)

    def view(self, offset: int, length: int) -> memoryview:
        return self.bytes[offset - self.offset : offset - self.offset + length]


def _joined(ranges: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The ranges in order, those that overlap or are near as one, up to a size."""
    joined: list[tuple[int, int]] = []
    for offset, length in sorted(set(ranges)):
        end = min(offset + length, size)
        if joined and (before := joined[-1]):
            begin, before_end = before[0], before[0] + before[1]
            if end <= before_end:
                continue
            near = offset - before_end <= _GAP and end - begin <= _MAX_RUN
            if near or offset < before_end:
                joined[-1] = begin, end - begin
                continue
        if end > offset >= 0:
            joined.append((offset, end - offset))
    return joined
