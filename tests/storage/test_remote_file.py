"""Reading parts of a remote file: how many requests that takes, and in which memory the bytes come."""

from __future__ import annotations

import ctypes
import gc
import random
import threading
import weakref

import pytest

from torchgraft.errors import CorruptCheckpointError, FetchError, UnsafeCheckpointError
from torchgraft.storage.header_bytes import BLOCK, HeaderBytes
from torchgraft.storage.remote_file import RemoteFile

MIB = 1 << 20
CONTENT = random.Random(0).randbytes(40 * BLOCK + 123)


class Ranges:
    """A remote file of these bytes, or of zeros; notes what it is asked for."""

    name = "far://file"

    def __init__(self, content: bytes = CONTENT, size: int | None = None) -> None:
        self.content = content
        self.size = len(content) if size is None else size
        self.asked: list[tuple[int, int]] = []
        self.threads: set[str] = set()
        self.checks = 0

    def read_into(self, offset: int, into: memoryview) -> None:
        assert len(into)
        assert 0 <= offset <= offset + len(into) <= self.size
        self.asked.append((offset, len(into)))
        self.threads.add(threading.current_thread().name)
        part = self.content[offset : offset + len(into)]
        into[: len(part)] = part

    def check(self) -> None:
        self.checks += 1

    @property
    def sent(self) -> int:
        return sum(length for _, length in self.asked)


def header(ranges: Ranges, head: bytes = b"") -> HeaderBytes:
    return HeaderBytes(ranges.name, ranges.size, ranges.read_into, head)


def test_slices_and_numbers_are_those_of_the_file() -> None:
    data = header(Ranges())
    assert len(data) == len(CONTENT)
    for place in (0, BLOCK - 1, BLOCK, len(CONTENT) - 1, -1, -len(CONTENT)):
        assert data[place] == CONTENT[place]
    for cut in (
        slice(None, 10), slice(BLOCK - 5, BLOCK + 5), slice(-200, None), slice(100, 50),
        slice(len(CONTENT), None), slice(3, 3 * BLOCK, 7), slice(None),
    ):  # fmt: skip
        assert data[cut] == CONTENT[cut]
    for place in (len(CONTENT), -len(CONTENT) - 1):
        with pytest.raises(IndexError):
            data[place]


def test_what_was_read_is_not_asked_for_again() -> None:
    ranges = Ranges()
    data = header(ranges, CONTENT[:BLOCK])
    assert data[:100] == CONTENT[:100]
    assert ranges.asked == []
    for _ in range(2):
        assert data[BLOCK : 3 * BLOCK] == CONTENT[BLOCK : 3 * BLOCK]
    assert data[2 * BLOCK + 5] == CONTENT[2 * BLOCK + 5]
    assert len(ranges.asked) == 1


def test_one_who_reads_on_is_read_ahead_for() -> None:
    ranges = Ranges()
    data = header(ranges)
    assert bytes(data[at] for at in range(len(CONTENT))) == CONTENT
    assert len(ranges.asked) <= 7
    assert ranges.sent == len(CONTENT)


def test_one_who_jumps_is_not() -> None:
    ranges = Ranges()
    data = header(ranges)
    for block in (30, 5, 20):
        data[block * BLOCK + 17]
    assert ranges.asked == [(block * BLOCK, BLOCK) for block in (30, 5, 20)]


def test_a_bounded_number_of_blocks_is_kept() -> None:
    ranges = Ranges(b"", size=1 << 34)
    data = header(ranges)
    for block in range(0, 20_000, 10):
        data[block * BLOCK]
    assert len(data._blocks) <= 512
    # blocks that are at hand, but are the oldest, are not lost to those that come
    oldest = min(data._blocks)
    assert len(data[oldest * BLOCK : (oldest + 60) * BLOCK]) == 60 * BLOCK


def test_find() -> None:
    content = bytearray(5 * BLOCK)
    content[3 * BLOCK - 2 : 3 * BLOCK + 2] = b"here"
    data = header(Ranges(bytes(content)))
    assert data.find(b"here", 0) == content.find(b"here")
    assert data.find(b"here", 3 * BLOCK - 1) == -1
    assert data.find(b"h", 3 * BLOCK - 2) == 3 * BLOCK - 2
    ranges = Ranges(b"", size=1 << 40)
    assert header(ranges).find(b"\n", 5) == -1
    assert ranges.sent < 32 * MIB


def test_a_header_beyond_measure_is_refused() -> None:
    with pytest.raises(UnsafeCheckpointError, match=r"far://file.*1,000,000,000 bytes"):
        header(Ranges(b"", size=1 << 40))[: 10**9]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10), (5, BLOCK), (100, 5 * BLOCK), (len(CONTENT) - 7, 7), (9, 0)]
)
def test_views_are_the_bytes_writable_and_aligned_as_in_the_file(offset: int, length: int) -> None:
    file = RemoteFile(Ranges())
    for held in (False, True):
        with file.prefetch([(max(0, offset - 3), length)] if held else []):
            view = file.view(offset, length)
            assert view == CONTENT[offset : offset + length]
            if length:
                view[0] ^= 255
                assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % 16 == offset % 16
    assert file.view(offset, length) == CONTENT[offset : offset + length]


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -1), (len(CONTENT), 1), (0, 1 << 62)])
def test_views_beyond_the_file_are_refused(offset: int, length: int) -> None:
    ranges = Ranges()
    with pytest.raises(CorruptCheckpointError, match="far://file"):
        RemoteFile(ranges).view(offset, length)
    assert ranges.asked == []


def test_a_size_that_can_only_be_a_lie_allocates_nothing() -> None:
    file = RemoteFile(Ranges(b"", size=1 << 61))
    for read in (lambda: file.view(0, 1 << 60), lambda: file.data[: 1 << 60]):
        with pytest.raises(UnsafeCheckpointError, match="far://file"):
            read()


def test_a_view_of_what_is_partly_at_hand_fetches_the_rest() -> None:
    ranges = Ranges()
    file = RemoteFile(ranges, CONTENT[:BLOCK])
    assert file.view(8, 3 * BLOCK) == CONTENT[8 : 8 + 3 * BLOCK]
    assert ranges.asked == [(BLOCK, 2 * BLOCK + 8)]
    assert file.data[5 * BLOCK] == CONTENT[5 * BLOCK]
    assert file.view(10, 6 * BLOCK - 10) == CONTENT[10 : 6 * BLOCK]
    assert ranges.asked[2:] == [(BLOCK, 4 * BLOCK)]


WANTED = {
    "near ranges are one": ([(0, 100), (200, 100), (BLOCK, 100)], [(0, BLOCK + 100)]),
    "far ones are not": ([(0, 99), (9 * BLOCK, 5)], [(0, 99), (9 * BLOCK, 5)]),
    "in any order, and twice": ([(9 * BLOCK, 5), (0, 9), (0, 9)], [(0, 9), (9 * BLOCK, 5)]),
    "one within another": ([(0, 5 * BLOCK), (BLOCK, 10)], [(0, 5 * BLOCK)]),
    "up to the end of the file": ([(40 * BLOCK, 99999)], [(40 * BLOCK, 123)]),
    "nothing": ([(5, 0), (len(CONTENT) + 1, 5)], []),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "asked"), WANTED.values(), ids=WANTED)
def test_ranges_are_joined(wanted: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    ranges = Ranges()
    file = RemoteFile(ranges)
    with file.prefetch(wanted):
        assert sorted(ranges.asked) == asked
        for offset, length in wanted:
            if offset + length <= file.size:
                assert file.view(offset, length) == CONTENT[offset : offset + length]
        assert len(ranges.asked) == len(asked)


def test_every_batch_is_checked_once() -> None:
    ranges = Ranges()
    file = RemoteFile(ranges)
    with file.prefetch([(0, 100), (9 * BLOCK, 5)]):
        file.view(5, 5)
    assert ranges.checks == 1
    file.data[20 * BLOCK]
    file.view(30 * BLOCK, 2 * BLOCK)
    assert ranges.checks == 3


def test_large_ranges_come_in_parts_at_once_and_in_bounded_memory() -> None:
    ranges = Ranges(b"", size=200 * MIB)
    file = RemoteFile(ranges)
    with file.prefetch([(at * MIB, MIB) for at in range(160)]):
        assert sorted(ranges.asked) == [(at * MIB, 8 * MIB) for at in range(0, 160, 8)]
        assert len(ranges.threads) > 1
        assert [len(run.bytes) for run in file._held[0]] == [64 * MIB, 64 * MIB, 32 * MIB]


def test_what_was_fetched_ahead_is_let_go() -> None:
    file = RemoteFile(Ranges())
    with file.prefetch([(0, 5 * BLOCK)]):
        view = file.view(BLOCK, 10)
        memory = weakref.ref(file._held[0][0].bytes)
    gc.collect()
    assert memory() is None
    assert file._held == []
    assert view == CONTENT[BLOCK : BLOCK + 10]  # a view keeps what it needs


def test_blocks_may_be_inside_one_another() -> None:
    ranges = Ranges()
    file = RemoteFile(ranges)
    with file.prefetch([(0, 10)]):
        with file.prefetch([(9 * BLOCK, 10), (1, 8)]):
            assert file.view(2, 3) == CONTENT[2:5]
        assert len(ranges.asked) == 2
        assert file.view(2, 3) == CONTENT[2:5]
        assert len(ranges.asked) == 2


def test_an_error_in_one_part_is_told_and_ends_the_others() -> None:
    class Failing(Ranges):
        def read_into(self, offset: int, into: memoryview) -> None:
            super().read_into(offset, into)
            if offset == 16 * MIB:
                raise FetchError("no", where=self.name)

    ranges = Failing(b"", size=4096 * MIB)
    file = RemoteFile(ranges)
    with (
        pytest.raises(FetchError, match="far://file"),
        file.prefetch([(at * MIB, 1) for at in range(0, 4096, 8)]),
    ):
        pytest.fail("nothing can be read")
    assert len(ranges.asked) < 500
    assert file._held == []
