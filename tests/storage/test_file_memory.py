"""Parts of mapped files in memory of one's own."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from threading import Thread

import pytest

from torchgraft.errors import CorruptCheckpointError
from torchgraft.storage import file_memory
from torchgraft.storage.file_memory import FileMemory
from torchgraft.storage.local import MappedFile, mapped_at

CONTENT = bytes(os.urandom(1 << 20))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


def address(file: MappedFile, offset: int = 0) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(file.data)) + offset


def test_memory_of_a_mapped_file_is_told_from_others(path):
    one, other = MappedFile(path), MappedFile(path)
    assert mapped_at(address(one, 5), 10) == (one, 5)
    assert mapped_at(address(other, 5), 10) == (other, 5)
    assert mapped_at(address(one, len(CONTENT) - 4), 5) is None
    own = ctypes.create_string_buffer(16)
    assert mapped_at(ctypes.addressof(own), 16) is None


def test_files_may_be_mapped_in_other_threads_meanwhile(path):
    file, kept = MappedFile(path), []

    def open_many() -> None:
        kept.extend(MappedFile(path) for _ in range(100))

    threads = [Thread(target=open_many) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert mapped_at(address(file, 5), 10) == (file, 5)
    assert len(kept) == 300


@pytest.mark.parametrize("read", [False, True])
def test_the_parts_are_the_files_and_nobody_elses(path, read):
    file, memory = MappedFile(path), FileMemory(read=read)
    parts = [(7, 100), (4096, 4096), (200_000, 300_000), (len(CONTENT) - 3, 3)]
    places = [memory.reserve(address(file, offset), length) for offset, length in parts]
    memory.fill()
    for (offset, length), place in zip(parts, places, strict=True):
        buffer, at = memory.part(place)
        assert buffer[at : at + length] == CONTENT[offset : offset + length]
        assert (at - offset) % 64 == 0  # numbers that were aligned are
        buffer[at : at + length] = bytes(length)
    assert file.data[:] == CONTENT == path.read_bytes()


@pytest.mark.parametrize("read", [False, True])
def test_many_pieces_and_gaps(path, read, monkeypatch):
    monkeypatch.setattr(file_memory, "_PIECE", 1000)
    monkeypatch.setattr(file_memory, "_NEAR", 5000)
    file, memory = MappedFile(path), FileMemory(read=read)
    parts = [(offset, 64) for offset in range(0, len(CONTENT) - 64, 7919)][::-1]
    places = [memory.reserve(address(file, offset), length) for offset, length in parts]
    memory.fill()
    for (offset, length), place in zip(parts, places, strict=True):
        buffer, at = memory.part(place)
        assert buffer[at : at + length] == CONTENT[offset : offset + length]


@pytest.mark.parametrize("other", [(0, 8), (15, 1), (8, 100), (10, 2), (10, 5)])
def test_no_byte_has_two_owners(path, other):
    file, memory = MappedFile(path), FileMemory(read=False)
    assert memory.reserve(address(file, 5), 11)
    assert memory.reserve(address(file, 16), 4)
    assert memory.reserve(address(file, other[0]), other[1]) is None
    assert memory.reserve(address(file, 0), 5)
    memory.close()


def test_a_file_that_was_replaced_or_changed_is_left_alone(path):
    file = MappedFile(path)
    os.utime(path, ns=(0, 0))
    assert FileMemory(read=False).reserve(address(file), 8) is None
    path.unlink()
    assert FileMemory(read=True).reserve(address(file), 8) is None


def test_a_file_that_has_become_shorter(path):
    file, memory = MappedFile(path), FileMemory(read=True)
    assert memory.reserve(address(file, 600_000), 8)
    os.truncate(path, 100)
    with pytest.raises(CorruptCheckpointError, match="has become shorter"):
        memory.fill()


def test_files_are_let_go_of(path):
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else None
    file = MappedFile(path)
    for read in (False, True):
        memory = FileMemory(read=read)
        memory.reserve(address(file), 8)
        memory.fill()
        unused = FileMemory(read=read)
        unused.reserve(address(file), 8)
        unused.close()
    del memory, unused
    if before is not None:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
