"""Checksums of parts of files; every library gives the same."""

from __future__ import annotations

import random
import sys
import zlib
from importlib import import_module
from pathlib import Path

import pytest

from torchgraft.storage import checksums
from torchgraft.storage.checksums import crc32, crc32_of
from torchgraft.storage.local import MappedFile
from torchgraft.storage.part import FilePart

DATA = random.Random(0).randbytes(100_000)


@pytest.fixture
def file(tmp_path: Path) -> MappedFile:
    (tmp_path / "x").write_bytes(DATA)
    return MappedFile(tmp_path / "x")


@pytest.mark.parametrize("absent", [[], ["isal.isal_zlib"], ["isal.isal_zlib", "zlib_ng.zlib_ng"]])
def test_whatever_is_installed(absent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    found = checksums._fastest()
    assert found(DATA[500:], found(DATA[:500], 0)) == zlib.crc32(DATA)
    if not absent:
        assert found is import_module("isal.isal_zlib").crc32


@pytest.mark.parametrize(("offset", "length"), [(0, 100_000), (0, 0), (5, 1), (4097, 70_000)])
@pytest.mark.parametrize("piece", [1 << 25, 4096, 7777])
def test_of_a_part(
    offset: int, length: int, piece: int, file: MappedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "_PIECE", piece)
    monkeypatch.setattr(checksums, "_LARGE", 10_000)
    wanted = zlib.crc32(DATA[offset : offset + length])
    assert crc32_of(file, offset, length) == wanted
    assert crc32_of(FilePart(file, offset, length, "part"), 0, length) == wanted
    assert crc32(DATA[offset : offset + length], 0) == wanted


def test_forgetting_keeps_the_bytes(file: MappedFile) -> None:
    view = file.view(0, 100_000)
    assert bytes(view) == DATA
    for offset, length in [(0, None), (0, 100_000), (1, 99_999), (5000, 10_000), (3, 4), (99_000, 1000)]:
        file.forget(offset, length)
        assert bytes(view) == DATA
    view[0] ^= 1
    file.forget(4096, 4096)
    assert view[0] == DATA[0] ^ 1  # only what was named is forgotten
    file.forget()
    assert view[0] == DATA[0]
