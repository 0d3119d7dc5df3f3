"""Zip archives whose directory and entries contradict each other."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.archives.zip_directory import read_directory
from torchgraft.storage.local import MappedFile

Edit = Callable[[bytearray, int, int], None]
"""Changes an archive: its bytes, and where an entry's local header and its directory record are."""


@pytest.fixture
def archive(pack: Callable[..., Path]) -> Path:
    return pack(b"\x80\x02}.", {"0": b"12345678", "1": b"abcdefgh"})


@pytest.fixture(params=[2, 60], ids=["two storages", "sixty storages"])
def lying(request: pytest.FixtureRequest, pack: Callable[..., Path]) -> Path:
    """Records of many names of one length are read together, others one by one."""
    return pack(b"\x80\x02}.", {f"{number:02}": b"12345678" for number in range(request.param)})


def put(place: int, layout: str, value: int) -> Edit:
    def edit(data: bytearray, local: int, central: int) -> None:
        struct.pack_into(layout, data, (central if place >= 1000 else local) + place % 1000, value)

    return edit


def test_the_archive_before_it_is_changed(archive: Path) -> None:
    entries = read_directory(MappedFile(archive))
    assert list(entries) == ["made/data.pkl", "made/version", "made/data/0", "made/data/1"]
    assert bytes(entries["made/data/1"].view()) == b"abcdefgh"


# Places in the records are those of PKWARE's APPNOTE 4.3.7 (local) and 4.3.12 (directory, + 1000 here).
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(put(0, "<L", 0), id="no local header"),
        pytest.param(put(8, "<H", 8), id="local: another method"),
        pytest.param(put(18, "<L", 7), id="local: another stored size"),
        pytest.param(put(22, "<L", 9), id="local: another size"),
        pytest.param(put(26, "<H", 9), id="local: a shorter name"),
        pytest.param(put(30, "<B", 0x58), id="local: another name"),
        pytest.param(put(28, "<H", 60_000), id="local: data beyond the end"),
        pytest.param(put(1000, "<L", 0), id="no directory record"),
        pytest.param(put(1008, "<H", 1), id="encrypted"),
        pytest.param(put(1010, "<H", 14), id="LZMA"),
        pytest.param(put(1020, "<L", 1 << 31), id="stored size beyond the end"),
        pytest.param(put(1024, "<L", 1 << 31), id="size beyond the end"),
        pytest.param(put(1028, "<H", 60_000), id="name beyond the end"),
        pytest.param(put(1034, "<H", 1), id="another volume"),
        pytest.param(put(1042, "<L", 1 << 31), id="offset beyond the end"),
        pytest.param(put(1042, "<L", 0), id="offset of another entry"),
        pytest.param(put(1046, "<B", 0xFF), id="name that is no text"),
    ],
)
@pytest.mark.parametrize("name", [b"version", b"data/01"], ids=["of the second", "of the fourth"])
def test_contradictions_are_refused(name: bytes, edit: Edit, lying: Path) -> None:
    data = bytearray(lying.read_bytes())
    local = data.rindex(b"PK\x03\x04", 0, data.index(b"made/" + name))
    central = data.rindex(b"PK\x01\x02", 0, data.rindex(b"made/" + name))
    edit(data, local, central)
    lying.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"made\.pth"):
        read_container(lying)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(pack: Callable[..., Path]) -> None:
    with pytest.raises(UnsafeCheckpointError, match="two entries are called"):
        read_container(pack(b"\x80\x02}.", {"0": b"1"}, **{"data/0": b"2"}))


def test_overlapping_entries_are_refused(archive: Path) -> None:
    """Two names for the same bytes, each record in order by itself: how small zip bombs are made."""
    data = archive.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    count, _, start = struct.unpack_from("<H2L", data, end + 10)
    records = data[start:end]
    last = records[records.rindex(b"PK\x01\x02") :]
    outer = bytearray(b"PK\x03\x04" + struct.pack("<5H3L2H", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"x")
    inner = data[data.rindex(b"PK\x03\x04") : start]
    struct.pack_into("<2L", outer, 18, len(inner), len(inner))
    at = data.rindex(b"PK\x03\x04")
    record = b"PK\x01\x02" + struct.pack(
        "<6H3L5H2L", 20, 20, 0, 0, 0, 0, 0, len(inner), len(inner), 1, 0, 0, 0, 0, 0, at
    )
    moved = bytearray(last)
    struct.pack_into("<L", moved, 42, at + len(outer))
    body = data[:at] + bytes(outer) + inner
    directory = records[: -len(last)] + bytes(moved) + record + b"x"
    tail = bytearray(data[end:])
    struct.pack_into("<2H2L", tail, 8, count + 1, count + 1, len(directory), len(body))
    archive.write_bytes(body + directory + bytes(tail))
    with pytest.raises(UnsafeCheckpointError, match="overlap"):
        read_container(archive)


def test_a_compressed_entry_must_be_what_it_claims(pack: Callable[..., Path]) -> None:
    path = pack(b"\x80\x02}.", {"0": bytes(10_000)}, compress=True)
    good = path.read_bytes()
    central = good.rindex(b"PK\x01\x02")
    central = good.rindex(b"PK\x01\x02", 0, central + 4)
    for place, value, message in [
        (16, 1, "checksum"),
        (24, 9_999, "not what"),
        (24, 1 << 31, "claims to inflate"),
    ]:
        data = bytearray(good)
        struct.pack_into("<L", data, central + place, value)
        local = struct.unpack_from("<L", data, central + 42)[0]
        struct.pack_into("<L", data, local + {16: 14, 24: 22}[place], value)
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=message):
            read_directory(MappedFile(path))["made/data/0"].view()


@pytest.mark.parametrize("keep", [4, 100, -1, -22, -60])
def test_truncation_is_told(keep: int, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(CorruptCheckpointError, match="truncated"):
        read_container(archive)


def test_several_pickles_or_none(pack: Callable[..., Path]) -> None:
    with pytest.raises(CorruptCheckpointError, match=r"2 data\.pkl"):
        read_container(_rename(pack(b"\x80\x02}.", version2=b"3"), b"made/version2", b"abcd/data.pkl"))


def _rename(path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(path.read_bytes().replace(old, new))
    return path
