"""The bytes of a remote file for reading bit by bit: fetched in blocks, a bounded number of which is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import overload

from torchgraft.errors import UnsafeCheckpointError

__all__ = ["BLOCK", "HeaderBytes"]

BLOCK = 1 << 16
_MAX_KEPT = 512  # blocks: 32 MiB
_MAX_AHEAD = 64  # blocks: 4 MiB
_MAX_SLICE = 1 << 28
_MAX_SEARCH = 1 << 24


class HeaderBytes:
    """A `ByteSource` over requests. One who reads on and on is read ahead for, twice as far each time.

    Args:
        name: The file's address, for messages.
        size: Its length.
        fetch: Fills a buffer with the bytes from an offset on.
        head: The file's first bytes, where they are known already.
        held: Gives bytes that are at hand anyway, and else nothing.
    """

    def __init__(
        self,
        name: str,
        size: int,
        fetch: Callable[[int, memoryview], None],
        head: bytes,
        held: Callable[[int, int], memoryview | None] | None = None,
    ) -> None:
        self._name = name
        self._size = size
        self._fetch = fetch
        self._held = held
        self._blocks: dict[int, bytes] = {}
        self._lock = threading.RLock()
        self._next, self._ahead = 0, 1
        self._near = (0, b"")
        if len(head) == size or len(head) >= BLOCK:
            self._keep(0, head)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int, /) -> int: ...
    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...
    def __getitem__(self, place: int | slice, /) -> int | bytes:
        if isinstance(place, slice):
            start, stop, step = place.indices(self._size)
            if step < 1:
                raise ValueError("only slices that go forward can be read")
            return self.read(start, stop - start)[::step]
        start, near = self._near
        if 0 <= place - start < len(near):
            return near[place - start]
        if not -self._size <= place < self._size:
            raise IndexError("index out of range")
        with self._lock:
            number, at = divmod(place % self._size, BLOCK)
            self._load(number, number)
            self._near = (number * BLOCK, self._blocks[number])
            return self._near[1][at]

    def find(self, needle: bytes, start: int, /) -> int:
        """Where the needle begins, or -1 if it is not within the next 16 MiB."""
        for at in range(max(start, 0), min(self._size, start + _MAX_SEARCH), BLOCK):
            found = self[at : at + BLOCK + len(needle) - 1].find(needle)
            if found >= 0:
                return at + found
        return -1

    def read(self, offset: int, length: int) -> bytes:
        """These bytes, which lie within the file.

        Raises:
            UnsafeCheckpointError: They are far more than a header has.
            FetchError: They can't be had.
        """
        if length <= 0:
            return b""
        if length > _MAX_SLICE:
            raise UnsafeCheckpointError(f"its header would be {length:,} bytes long", where=self._name)
        known = self._held(offset, length) if self._held else None
        if known is not None:
            return bytes(known)
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        if last - first >= _MAX_AHEAD:
            into = memoryview(bytearray(length))
            begin, end = self.copy_known(offset, into)
            if begin < end:
                self._fetch(begin, into[begin - offset : end - offset])
            return bytes(into)
        with self._lock:
            self._load(first, last)
            joined = b"".join(self._blocks[number] for number in range(first, last + 1))
        return joined[offset - first * BLOCK : offset - first * BLOCK + length]

    def copy_known(self, offset: int, into: memoryview) -> tuple[int, int]:
        """Fill a buffer's ends from the blocks that are there; returns what is left: from where to where."""
        begin, end = offset, offset + len(into)
        while begin < end and (block := self._blocks.get(begin // BLOCK)) is not None:
            part = block[begin % BLOCK :][: end - begin]
            into[begin - offset : begin - offset + len(part)] = part
            begin += len(part)
        while begin < end and (block := self._blocks.get((end - 1) // BLOCK)) is not None:
            start = max(begin, (end - 1) // BLOCK * BLOCK)
            into[start - offset : end - offset] = block[start % BLOCK :][: end - start]
            end = start
        return begin, end

    def _load(self, first: int, last: int) -> None:
        """Have these blocks, the missing ones in one request."""
        missing = []
        for number in range(first, last + 1):
            if number in self._blocks:
                self._blocks[number] = self._blocks.pop(number)  # the newest, which are dropped last
            else:
                missing.append(number)
        if not missing:
            return
        first, last = missing[0], missing[-1]
        self._ahead = min(self._ahead * 2, _MAX_AHEAD) if first == self._next else 1
        last = max(last, min(first + self._ahead, -(-self._size // BLOCK)) - 1)
        into = bytearray(min((last + 1) * BLOCK, self._size) - first * BLOCK)
        self._fetch(first * BLOCK, memoryview(into))
        self._keep(first, bytes(into))
        self._next = last + 1

    def _keep(self, first: int, data: bytes) -> None:
        """Cut whole blocks (the file's last may be shorter) and drop the oldest ones that are too many."""
        for at in range(0, len(data), BLOCK):
            block = data[at : at + BLOCK]
            if len(block) == BLOCK or first * BLOCK + at + len(block) == self._size:
                self._blocks.pop(first + at // BLOCK, None)
                self._blocks[first + at // BLOCK] = block
        while len(self._blocks) > _MAX_KEPT:
            self._blocks.pop(next(iter(self._blocks)))
