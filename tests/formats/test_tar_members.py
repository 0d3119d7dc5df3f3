"""Tar archives: what `tarfile` writes, and headers that lie."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.archives.tar_members import first_name, is_tar, read_members
from torchgraft.storage.local import MappedFile


def made(path: Path, kind: int = tarfile.PAX_FORMAT, **pax: str) -> Path:
    with tarfile.open(path, "w:", format=kind) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in (("a", b"12345"), ("folder/b", b""), ("./c", bytes(1000))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = pax
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_where_tarfile_finds_them(kind: int, tmp_path: Path) -> None:
    path = made(tmp_path / "x", kind, **({"comment": "more"} if kind == tarfile.PAX_FORMAT else {}))
    with tarfile.open(path) as archive:
        theirs = {
            info.name.removeprefix("./"): (info.offset_data, info.size) for info in archive if info.isfile()
        }
    head = path.read_bytes()[:512]
    assert is_tar(head)
    assert first_name(head) == "folder/"
    assert read_members(MappedFile(path)) == theirs


def test_a_size_that_the_header_has_no_room_for(tmp_path: Path) -> None:
    """More than 8 GiB are written in a header of their own; a small number in it counts all the same."""
    path = made(tmp_path / "x", comment="12345")
    data = path.read_bytes()
    assert data.count(b"17 comment=12345\n") == 3
    path.write_bytes(data.replace(b"17 comment=12345\n", b"10 size=4\n7 x=yz\n", 1))
    assert [size for _, size in read_members(MappedFile(path)).values()] == [4, 0, 1000]


def checksummed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.__setitem__(slice(124, 136), b"77777777777\0"), "are wanted"),
        (lambda h: h.__setitem__(slice(124, 136), b"\x80" + b"\x7f" * 11), "is damaged"),
        (lambda h: h.__setitem__(slice(124, 136), b"\x80" + bytes(7) + b"\x7f" * 4), "are wanted"),
        (lambda h: h.__setitem__(slice(124, 136), b"no number!!\0"), "is damaged"),
    ],
)
def test_sizes_that_lie_are_refused(
    change: Callable[[bytearray], None], message: str, tmp_path: Path
) -> None:
    path = made(tmp_path / "x", tarfile.USTAR_FORMAT)
    data = path.read_bytes()
    header = bytearray(data[512:1024])
    change(header)
    path.write_bytes(data[:512] + checksummed(header) + data[1024:])
    with pytest.raises(CorruptCheckpointError, match=f"{path}: .*{message}"):
        read_members(MappedFile(path))


def test_a_checksum_that_is_wrong_is_told(tmp_path: Path) -> None:
    path = made(tmp_path / "x", tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes().replace(b"folder/b", b"folder/d"))
    with pytest.raises(CorruptCheckpointError, match=f"{path}: the tar header at byte 1536 is damaged"):
        read_members(MappedFile(path))


@pytest.mark.parametrize("keep", [1, 511, 513, 1030, 1600, 3000])
def test_truncation_is_told(keep: int, tmp_path: Path) -> None:
    path = made(tmp_path / "x", tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptCheckpointError, match=str(path)):
        read_members(MappedFile(path))
