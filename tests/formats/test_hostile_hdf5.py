"""HDF5 files that lead elsewhere, lie or are damaged: one clear error each, and no other file is opened."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.hdf5 import filters
from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.datatypes import read_dataspace, read_datatype
from torchgraft.formats.hdf5.headers import DATASPACE, DATATYPE, Message
from torchgraft.storage.memory import MemoryFile

VERSIONS = ["earliest", "latest"]
UNDEFINED = b"\xff" * 8


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f8")
    layout[:] = h5py.VirtualSource("canary.h5", "a", shape=(2,))
    file.create_virtual_dataset("bad", layout)


def inner_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f8")
    layout[:] = h5py.VirtualSource(".", "ok", shape=(2,))
    file.create_virtual_dataset("bad", layout)


def cycle(file: h5py.File) -> None:
    group = file.create_group("group")
    group["bad"] = group


def laughs(file: h5py.File) -> None:
    group: Any = file
    for index in range(30):
        inner = file.create_group(f"n{index}")
        group["bad1"] = group["bad2"] = inner
        group = inner


def deep(file: h5py.File) -> None:
    group: Any = file
    for _ in range(150):
        group = group.create_group("bad")


def missing_chunks(file: h5py.File) -> None:
    file.create_dataset("bad", (100, 100), "f4", chunks=(10, 10))[:10] = 1


CASES: dict[str, tuple[Callable[[h5py.File], object], type[CheckpointError], str]] = {
    "soft link": (lambda f: f.__setitem__("bad", h5py.SoftLink("/ok")), UnsafeCheckpointError, "soft link"),
    "external link": (
        lambda f: f.__setitem__("bad", h5py.ExternalLink("canary.h5", "/a")),
        UnsafeCheckpointError,
        "link to another file",
    ),
    "external storage": (
        lambda f: f.create_dataset("bad", (2,), "f4", external=[("canary.h5", 0, 8)]),
        UnsafeCheckpointError,
        "kept in another file",
    ),
    "virtual": (virtual, UnsafeCheckpointError, "virtual dataset"),
    "virtual within the file": (inner_virtual, UnsafeCheckpointError, "virtual dataset"),
    "a group in itself": (cycle, UnsafeCheckpointError, "in two places, or in itself"),
    "billion laughs": (laughs, UnsafeCheckpointError, "in two places, or in itself"),
    "deep": (deep, UnsafeCheckpointError, "nested more than 100 deep"),
    "lzf": (
        lambda f: f.create_dataset("bad", data=np.ones((9, 9)), compression="lzf"),
        CorruptCheckpointError,
        "packed with lzf, which is not supported",
    ),
    "scale-offset": (
        lambda f: f.create_dataset("bad", data=np.ones((9, 9), "i4"), scaleoffset=2),
        CorruptCheckpointError,
        "packed with scale-offset",
    ),
    "huge and not there": (
        lambda f: f.create_dataset("bad", (1 << 20, 1 << 20), "f4"),
        CorruptCheckpointError,
        "never written",
    ),
    "huge, in chunks, and not there": (
        lambda f: f.create_dataset("bad", (1 << 20, 1 << 20), "f4", chunks=(64, 64), compression="gzip"),
        UnsafeCheckpointError,
        "more than the file has bytes",
    ),
    "small and not there": (
        lambda f: f.create_dataset("bad", (3,), "f4"),
        CorruptCheckpointError,
        "never written",
    ),
    "some chunks not there": (
        missing_chunks,
        CorruptCheckpointError,
        "90 of its 100 chunks were never written",
    ),
}


def make(path: Path, write: Callable[[h5py.File], object], version: str = "earliest") -> Path:
    with h5py.File(path, "w", libver=version) as file:
        file["ok"] = np.ones(2)
        write(file)
    return path


@pytest.fixture(scope="module")
def opened() -> Iterator[list[str]]:
    """The names of the files that Python opens. An audit hook can't be taken away, but fall silent."""
    names: list[str] = []
    watching = True

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if watching and event == "open":
            names.append(str(args[0]))

    sys.addaudithook(watch)
    yield names
    watching = False


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_what_leads_elsewhere_or_is_not_there_is_refused(
    case: str, version: str, opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write, kind, message = CASES[case]
    with h5py.File("canary.h5", "w") as canary:
        canary["a"] = np.ones(2)
    path = make(tmp_path / "x.h5", write, version)
    opened.clear()
    with pytest.raises(kind, match=message) as caught:
        read_container(path)
    now = list(opened)
    assert str(path) in str(caught.value)
    assert "bad" in str(caught.value)
    assert caught.value.hint
    assert now == [str(path)]


def patched(path: Path, old: bytes, new: bytes) -> Path:
    """The file with all occurrences of some bytes replaced."""
    whole = path.read_bytes()
    assert whole.count(old) >= 1
    assert len(old) == len(new)
    path.write_bytes(whole.replace(old, new))
    return path


def shape_message(*sizes: int) -> bytes:
    return struct.pack(f"<BBBB4x{len(sizes)}Q", 1, len(sizes), 1, 0, *sizes)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 3), "has 24 bytes instead of 84"),
        ((1 << 40, 1 << 40), "impossible"),
        ((1 << 31, 1 << 30), "instead of 9223372036854775808|impossible"),
        ((0, 1 << 63), "impossible"),
        (((1 << 64) - 1, 3), "impossible"),
    ],
)
def test_shapes_that_lie(shape: tuple[int, ...], message: str, tmp_path: Path) -> None:
    path = make(
        tmp_path / "x", lambda f: f.create_dataset("bad", data=np.arange(6, dtype="f4").reshape(2, 3))
    )
    patched(path, shape_message(2, 3)[:24], shape_message(*shape)[:24])
    with pytest.raises(CheckpointError, match=message) as caught:
        read_container(path)
    assert f"{path}: /bad" in str(caught.value)


def test_a_place_outside_of_the_file(tmp_path: Path) -> None:
    path = make(tmp_path / "x", lambda f: f.create_dataset("bad", data=np.arange(6, dtype="f4")))
    with h5py.File(path) as file:
        offset = file["bad"].id.get_offset()
    layout = b"\x03\x01" + struct.pack("<QQ", offset, 24)
    patched(path, layout, b"\x03\x01" + struct.pack("<QQ", path.stat().st_size - 23, 24))
    with pytest.raises(CorruptCheckpointError, match="the file ends before"):
        read_container(path)


def test_chunks_that_share_their_bytes_are_no_bomb(tmp_path: Path) -> None:
    """A kilobyte of zeros that stands for a thousand chunks of a megabyte each."""
    packed = {"chunks": (1, 250_000), "compression": "gzip"}
    zeros = np.zeros((64, 250_000), "i1")
    path = make(tmp_path / "x", lambda f: f.create_dataset("bad", data=zeros, **packed))
    whole = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        stored = [file["bad"].id.get_chunk_info(index) for index in range(64)]
    for chunk in stored:  # each claims to be as long as the file, at its start
        key = struct.pack("<IIQQQ", chunk.size, 0, *chunk.chunk_offset, 0) + struct.pack(
            "<Q", chunk.byte_offset
        )
        at = whole.index(key)
        whole[at : at + 4] = struct.pack("<I", len(whole) // 2)
        whole[at + len(key) - 8 : at + len(key)] = struct.pack("<Q", 0)
    path.write_bytes(whole)
    with pytest.raises(UnsafeCheckpointError, match="take more bytes than the file has"):
        read_container(path)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["row", "column", "within an element"])
def test_a_chunk_that_is_out_of_place(axis: int, tmp_path: Path) -> None:
    path = make(tmp_path / "x", lambda f: f.create_dataset("bad", data=np.ones((4, 6), "f4"), chunks=(2, 3)))
    place = [2, 3, 0]
    place[axis] += 1
    patched(path, struct.pack("<II3Q", 24, 0, 2, 3, 0), struct.pack("<II3Q", 24, 0, *place))
    with pytest.raises(CorruptCheckpointError, match=r"/bad.*out of place"):
        read_container(path)


def test_chunks_without_number(tmp_path: Path) -> None:
    chunks = {"chunks": (1,)}
    path = make(
        tmp_path / "x", lambda f: f.create_dataset("bad", data=np.zeros(300_000, "i1"), **chunks), "latest"
    )
    with pytest.raises(UnsafeCheckpointError, match="more than 250,000 chunks"):
        read_container(path)


def test_huge_and_empty(tmp_path: Path) -> None:
    size = 1 << 40
    path = make(
        tmp_path / "x", lambda f: f.create_dataset("bad", (size, 0), "f4", chunks=(1, 1), maxshape=(size, 1))
    )
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    assert tree["bad"].read().shape == (size, 0)


def test_a_chunk_that_inflates_to_more_than_it_should(tmp_path: Path) -> None:
    packed = {"chunks": (2, 500), "compression": "gzip"}
    path = make(tmp_path / "x", lambda f: f.create_dataset("bad", data=np.zeros((4, 500), "i1"), **packed))
    dimensions = struct.pack("<III", 2, 500, 1)
    patched(path, dimensions, struct.pack("<III", 2, 250, 1))
    with pytest.raises(CheckpointError):
        read_container(path)
    patched(path, struct.pack("<III", 2, 250, 1), struct.pack("<III", 2, 1 << 31, 1))
    with pytest.raises(UnsafeCheckpointError, match="claim to inflate"):
        read_container(path)


@pytest.mark.parametrize("packing", [{"compression": "gzip"}, {"fletcher32": True}])
def test_a_damaged_chunk_is_told_when_it_is_read(packing: dict[str, Any], tmp_path: Path) -> None:
    path = make(
        tmp_path / "x", lambda f: f.create_dataset("bad", data=np.arange(64.0), chunks=(64,), **packing)
    )
    with h5py.File(path) as file:
        at = file["bad"].id.get_chunk_info(0).byte_offset
    whole = bytearray(path.read_bytes())
    whole[at + 20] ^= 0x10
    path.write_bytes(whole)
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    with pytest.raises(CorruptCheckpointError, match="chunk 0 is damaged") as caught:
        tree["bad"].read()
    assert f"{path}: /bad" in str(caught.value)


@pytest.mark.parametrize(
    "replacement",
    [b"bad\xff\xfe\xfdme", b"bad/name", b"\0ad_name", b"bad_ok12"],
    ids=["no text", "a slash", "empty", "twice"],
)
def test_names_that_no_name_can_be(replacement: bytes, tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["bad_name"] = np.ones(1)
        file["bad_ok12"] = np.ones(1)

    path = patched(make(tmp_path / "x", write), b"bad_name", replacement)
    with pytest.raises(CorruptCheckpointError, match="member"):
        read_container(path)


def fields(data: bytes) -> tuple[Blocks, Fields]:
    blocks = Blocks(MemoryFile("x", memoryview(bytearray(100))), 0)
    return blocks, Fields(blocks, data)


def test_nested_datatypes_end() -> None:
    blocks, _ = fields(b"")
    enumeration = struct.pack("<B3sI", 0x38, b"\x02\0\0", 1)
    with pytest.raises(UnsafeCheckpointError, match="nested too deeply"):
        read_datatype(blocks, Message(DATATYPE, False, enumeration * 100))
    with pytest.raises(CorruptCheckpointError, match="33 dimensions"):
        read_dataspace(blocks, Message(DATASPACE, False, bytes([1, 33, 0, 0]) + bytes(400)))


@pytest.mark.parametrize(
    ("steps", "message"),
    [([(1, b"")] * 2, "deflated more than once"), ([(32015, b"")], "zstd"), ([(999, b"")], "filter 999"),
     ([(2, struct.pack("<I", 0))], "damaged")],
)  # fmt: skip
def test_filters_that_are_not_run(steps: list[tuple[int, bytes]], message: str) -> None:
    blocks, _ = fields(b"")
    data = bytes([2, len(steps)]) + b"".join(
        struct.pack("<H", kind)
        + (b"\0\0" if kind >= 256 else b"")
        + struct.pack("<HH", 0, len(values) // 4)
        + values
        for kind, values in steps
    )
    with pytest.raises(CheckpointError, match=message):
        filters.read_filters(blocks, Message(11, False, data))
