"""HDF5 files that lead elsewhere, lie or are damaged, whoever wrote them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from corpus.items import Bad, Item, Odd, Site, Values

VERSIONS = ("earliest", "latest")


def ones(*shape: int) -> Any:
    return np.ones(shape, "f4")


def hdf5(write: Callable[[h5py.File], object], version: str = "earliest") -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=version) as file:
        file["ok"] = np.ones(2)
        write(file)
    return buffer.getvalue()


def virtual(file: h5py.File, source: str) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(source, "ok", shape=(2,))
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


def soft_loop(file: h5py.File) -> None:
    file["bad"] = h5py.SoftLink("/worse")
    file["worse"] = h5py.SoftLink("/bad")


def missing_chunks(file: h5py.File) -> None:
    file.create_dataset("bad", (100, 100), "f4", chunks=(10, 10))[:10] = 1


LEADING: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "a soft link": (lambda f: f.__setitem__("bad", h5py.SoftLink("/ok")), "soft link"),
    "soft links in a loop": (soft_loop, "soft link"),
    "an external link": (
        lambda f: f.__setitem__("bad", h5py.ExternalLink("../secret", "/a")), "link to another file",
    ),
    "values in another file": (
        lambda f: f.create_dataset("bad", (2,), "f4", external=[("../secret", 0, 8)]), "kept in another file",
    ),
    "values in a device": (
        lambda f: f.create_dataset("bad", (2,), "f4", external=[("/dev/zero", 0, 8)]), "kept in another file",
    ),
    "a virtual dataset": (lambda f: virtual(f, "../secret"), "virtual dataset"),
    "a virtual dataset of itself": (lambda f: virtual(f, "."), "virtual dataset"),
    "a group in itself": (cycle, "in two places, or in itself"),
    "billion laughs": (laughs, "in two places, or in itself"),
    "deep groups": (deep, "nested more than 100 deep"),
    "lzf": (lambda f: f.create_dataset("bad", data=np.ones((9, 9)), compression="lzf"), "packed with lzf"),
    "scale-offset": (
        lambda f: f.create_dataset("bad", data=np.ones((9, 9), "i4"), scaleoffset=2),
            "packed with scale-offset",
    ),
    "huge and not there": (lambda f: f.create_dataset("bad", (1 << 20, 1 << 20), "f4"), "never written"),
    "huge chunks that are not there": (
        lambda f: f.create_dataset("bad", (1 << 20, 1 << 20), "f4", chunks=(64, 64), compression="gzip"),
        "more than the file has bytes",
    ),
    "some chunks not there": (missing_chunks, "90 of its 100 chunks were never written"),
}  # fmt: skip


def made(write: Callable[[h5py.File], object], version: str = "earliest") -> Callable[[Site], Path]:
    return lambda site: site.write(hdf5(write, version), "x.h5")


ARRAY = hdf5(lambda f: f.create_dataset("bad", data=np.arange(6, dtype="f4").reshape(2, 3)))


def shape_message(*sizes: int) -> bytes:
    return struct.pack(f"<BBBB4x{len(sizes)}Q", 1, len(sizes), 1, 0, *sizes)[:24]


def lying(*shape: int) -> bytes:
    old = shape_message(2, 3)
    assert ARRAY.count(old) == 1
    return ARRAY.replace(old, shape_message(*shape))


def elsewhere() -> bytes:
    """A dataset that begins just before the end of the file."""
    content = hdf5(lambda f: f.create_dataset("bad", data=np.arange(6, dtype="f4")))
    with h5py.File(io.BytesIO(content)) as file:
        offset = file["bad"].id.get_offset()
    old = b"\x03\x01" + struct.pack("<QQ", offset, 24)
    assert content.count(old) == 1
    return content.replace(old, b"\x03\x01" + struct.pack("<QQ", len(content) - 23, 24))


def sharing_chunks() -> bytes:
    """A kilobyte of zeros that stands for sixty-four chunks, each said to be half of the file."""
    zeros = np.zeros((64, 250_000), "i1")
    content = bytearray(
        hdf5(lambda f: f.create_dataset("bad", data=zeros, chunks=(1, 250_000), compression="gzip"))
    )
    with h5py.File(io.BytesIO(bytes(content))) as file:
        stored = [file["bad"].id.get_chunk_info(index) for index in range(64)]
    for chunk in stored:
        key = struct.pack("<IIQQQ", chunk.size, 0, *chunk.chunk_offset, 0) + struct.pack(
            "<Q", chunk.byte_offset
        )
        at = content.index(key)
        content[at : at + 4] = struct.pack("<I", len(content) // 2)
        content[at + len(key) - 8 : at + len(key)] = struct.pack("<Q", 0)
    return bytes(content)


def inflating(rows: int) -> bytes:
    """Chunks that inflate to something else than they should."""
    zeros = np.zeros((4, 500), "i1")
    content = hdf5(lambda f: f.create_dataset("bad", data=zeros, chunks=(2, 500), compression="gzip"))
    return content.replace(struct.pack("<III", 2, 500, 1), struct.pack("<III", 2, rows, 1))


def damaged(**packing: Any) -> bytes:
    content = bytearray(
        hdf5(lambda f: f.create_dataset("bad", data=np.arange(64.0), chunks=(64,), **packing))
    )
    with h5py.File(io.BytesIO(bytes(content))) as file:
        content[file["bad"].id.get_chunk_info(0).byte_offset + 20] ^= 0x10
    return bytes(content)


def renamed(name: bytes) -> bytes:
    def write(file: h5py.File) -> None:
        file["bad_name"] = np.ones(1)
        file["bad_ok12"] = np.ones(1)

    return hdf5(write).replace(b"bad_name", name)


LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a larger shape": (lying(7, 3), ("/bad", "24 bytes instead of 84")),
    "an impossible shape": (lying(1 << 40, 1 << 40), ("/bad", "impossible")),
    "an overflowing shape": (lying((1 << 64) - 1, 3), ("/bad", "impossible")),
    "huge and empty": (lying(0, 1 << 63), ("/bad", "impossible")),
    "values beyond the file": (elsewhere(), ("/bad", "the file ends before")),
    "chunks in the same bytes": (sharing_chunks(), ("/bad", "take more bytes than the file has")),
    "chunks that inflate to more": (inflating(1 << 31), ("/bad", "claim to inflate")),
    "chunks of another size": (inflating(250), ("/bad",)),
    "a damaged deflated chunk": (damaged(compression="gzip"), ("/bad", "chunk 0 is damaged")),
    "a chunk's checksum": (damaged(fletcher32=True), ("/bad", "chunk 0 is damaged")),
    "a name that is no text": (renamed(b"bad\xff\xfe\xfdme"), ("member",)),
    "a name with a slash": (renamed(b"bad/name"), ("member",)),
    "an empty name": (renamed(b"\0ad_name"), ("member",)),
    "a name twice": (renamed(b"bad_ok12"), ("member",)),
    "half of it": (ARRAY[: len(ARRAY) // 2], ("truncated",)),
    "nothing but the signature": (ARRAY[:8], ("shorter than what it should hold",)),
    "chunks without number": (
        hdf5(lambda f: f.create_dataset("bad", data=np.zeros(260_000, "i1"), chunks=(1,)), "latest"),
        ("/bad", "more than 250,000 chunks"),
    ),
}  # fmt: skip


def many_groups(file: h5py.File) -> None:
    """Some megabytes of metadata."""
    for index in range(1500):
        file[f"g{index // 50}/{'name' * 20}{index}/bad"] = np.ones(1)
    file["bad"] = h5py.SoftLink("/ok")


def read_by_h5py(content: bytes, names: dict[str, str]) -> Callable[[Site], tuple[Path, Values]]:
    """The names here and in the file."""

    def write(site: Site) -> tuple[Path, Values]:
        path = site.write(content)
        with h5py.File(path) as file:
            return path, {name: file[place][()] for name, place in names.items()}

    return write


def packed(version: str) -> tuple[bytes, dict[str, str]]:
    values = np.random.default_rng(0).normal(size=(40, 30)).astype("f4")
    ways: dict[str, dict[str, Any]] = {
        "plain": {}, "chunked": {"chunks": (7, 11)}, "gzip": {"chunks": (8, 8), "compression": "gzip"},
        "all": {"chunks": (9, 30), "compression": "gzip", "shuffle": True, "fletcher32": True},
        "big": {"dtype": ">f8"}, "half": {"dtype": "f2"}, "whole": {"dtype": "i8"}, "bytes": {"dtype": "u1"},
    }  # fmt: skip

    def write(file: h5py.File) -> None:
        for name, how in ways.items():
            file.create_dataset(f"group/{name}", data=values, **how)
        file["group/scalar"] = np.float32(1.5)
        file["group/nan"] = np.array([np.nan, -0.0], "f4")
        file.create_dataset("group/empty", (0, 3), "f4")

    names = {f"group/{name}": f"group/{name}" for name in (*ways, "scalar", "nan", "empty")}
    return hdf5(write, version), names | {"ok": "ok"}


ITEMS: list[Item] = [
    *(Odd(f"hdf5: HDF5 {version}, packed in every way",
        read_by_h5py(*packed(version))) for version in VERSIONS),
    *(Bad(f"hdf5: {name}", made(write), ("x.h5", "bad", told)) for name, (write, told) in LEADING.items()),
    Bad("hdf5: megabytes of metadata and a soft link", made(many_groups), ("x.h5", "bad", "soft link")),
    *(Bad(f"hdf5: {name}, newest form", made(LEADING[name][0], "latest"), ("x.h5", "bad", LEADING[name][1]))
      for name in ("an external link", "a virtual dataset", "values in another file", "a group in itself")),
    *(Bad(f"hdf5: {name}", lambda site, content=content: site.write(content), told)
      for name, (content, told) in LIES.items()),
]  # fmt: skip
