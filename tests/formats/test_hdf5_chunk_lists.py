"""The lists of chunks that HDF5 1.10 brought, compared with h5py; and damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.hdf5.blocks import Blocks
from torchgraft.formats.hdf5.chunk_arrays import fixed_array
from torchgraft.formats.hdf5.chunk_runs import Chunk
from torchgraft.formats.hdf5.extensible_array import extensible_array
from torchgraft.storage.local import MappedFile

SHAPE, CHUNKS = (20, 13, 3), (7, 5, 2)
LIMITS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int | None, ...]]] = {
    "one endless": ((900,), (2,), (None,)),
    "the first endless": (SHAPE, CHUNKS, (None, 13, 3)),
    "the middle one endless, others may grow": (SHAPE, CHUNKS, (45, None, 9)),
    "the last endless": (SHAPE, CHUNKS, (40, 30, None)),
    "two endless": (SHAPE, CHUNKS, (None, None, 3)),
    "all endless": (SHAPE, CHUNKS, (None, None, None)),
    "a deep tree": ((60, 50), (2, 2), (None, None)),
    "may grow": (SHAPE, CHUNKS, (33, 40, 9)),
    "may grow, in pages": ((2000,), (1,), (4000,)),
    "one chunk": ((3,), (4,), (None,)),
    "none yet": ((0, 3), (2, 2), (None, 3)),
}
PACKINGS: dict[str, dict[str, Any]] = {
    "alone": {},
    "gzip": {"compression": "gzip"},
    "fletcher32": {"shuffle": True, "fletcher32": True},
}


def random(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype("f4")


def same(path: Path) -> int:
    """How many datasets there are; each is read as h5py reads it, and in part too."""
    tree: Any = read_container(path).tree
    with h5py.File(path) as file:
        assert set(tree) == set(file)
        for name, dataset in file.items():
            wanted = dataset[()]
            assert tree[name].shape == wanted.shape, name
            assert tree[name].read().numpy().tobytes() == wanted.tobytes(), name
            if wanted.size:
                assert torch.equal(tree[name][-2:, ...], torch.from_numpy(wanted[-2:])), name
        return len(tree)


@pytest.mark.parametrize("version", ["earliest", "v110", "latest"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_the_same_as_h5py(packing: str, version: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w", libver=(version, "latest")) as file:
        for name, (shape, chunks, limits) in LIMITS.items():
            settings = PACKINGS[packing]
            file.create_dataset(name, data=random(shape), chunks=chunks, maxshape=limits, **settings)
    assert same(tmp_path / "x") == len(LIMITS)


@pytest.mark.parametrize("limits", [(None, 9), (90, 9), (None, None)], ids=str)
@pytest.mark.parametrize("chunks", [(2, 3), (1, 1)], ids=str)
def test_they_are_held_against_their_checksums(
    limits: tuple[int | None, ...], chunks: tuple[int, int], tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "x", "w", libver="latest") as file:
        file.create_dataset("bad", data=random((60, 9)), maxshape=limits, chunks=chunks)
    assert len(read_container(tmp_path / "x", verify=True).tree) == 1  # type: ignore[arg-type]
    whole = (tmp_path / "x").read_bytes()
    seen = 0
    for signature in (b"EAHD", b"EAIB", b"EASB", b"EADB", b"FAHD", b"FADB", b"BTHD", b"BTLF"):
        place = whole.find(signature)
        if place > 0:
            seen += 1
            damaged = bytearray(whole)
            damaged[place + 14] ^= 1
            (tmp_path / "x").write_bytes(damaged)
            with pytest.raises(CorruptCheckpointError, match="not what their checksum says"):
                read_container(tmp_path / "x", verify=True)
    assert seen >= 2


def test_chunks_in_a_row_that_may_become_more(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w", libver="latest") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((3, 2))
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        space = h5py.h5s.create_simple((9, 7), (30, 20))
        made = h5py.h5d.create(file.id, b"implicit", h5py.h5t.IEEE_F32LE, space, settings)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, random((9, 7)))
    assert same(tmp_path / "x") == 1


@pytest.mark.parametrize("limits", [(None, 10), (None, None), (12, 10), (12, None)], ids=str)
def test_datasets_that_grew_and_shrank(limits: tuple[int | None, ...], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w", libver="latest") as file:
        grown = file.create_dataset("grown", (4, 4), "f4", maxshape=limits, chunks=(2, 3))
        grown[...] = 1
        grown.resize((9, 8))
        grown[...] = random((9, 8))
        grown.resize((6, 5))
    assert same(tmp_path / "x") == 1


@pytest.mark.parametrize("limits", [(None, 9), (None, None), (30, 9)], ids=str)
def test_chunks_that_were_never_written(limits: tuple[int | None, ...], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w", libver="latest") as file:
        partly = file.create_dataset("partly", (9, 9), "f4", maxshape=limits, chunks=(2, 3))
        partly[:4] = 1
    with pytest.raises(CorruptCheckpointError, match=r"x: /partly: 9 of its 15 chunks were never written"):
        read_container(tmp_path / "x")


def chunk_list(path: Path, limit: int | None, written: list[slice]) -> tuple[Blocks, int, Any]:
    """A dataset of 300,000 chunks of a byte, a few of which are written: file, the list's header, data."""
    values = (np.arange(300_000) * 7 % 251).astype("u1")
    with h5py.File(path, "w", libver="latest") as file:
        dataset = file.create_dataset("x", (300_000,), "u1", maxshape=(limit,), chunks=(1,))
        for part in written:
            dataset[part] = values[part]
    header = path.read_bytes().index(b"EAHD" if limit is None else b"FAHD")
    return Blocks(MappedFile(path), 0), header, values


WRITTEN = [
    slice(0, 30),
    slice(5_000, 5_100),
    slice(131_040, 131_200),
    slice(140_000, 140_010),
    slice(299_999, 300_000),
]


@pytest.mark.parametrize("limit", [None, 300_000])
def test_pages_of_a_large_list(limit: int | None, tmp_path: Path) -> None:
    """A page without a chunk is not written: what is there instead is no address."""
    blocks, header, values = chunk_list(tmp_path / "x", limit, WRITTEN)
    blocks = Blocks(MappedFile(tmp_path / "x", verify=True), 0)
    places = [place for part in WRITTEN for place in range(part.start, part.stop)]
    places += [30, 4_999, 130_000, 131_200, 139_999, 200_000, 299_998]
    found: list[Chunk | None]
    if limit is None:
        found = list(extensible_array(blocks, header, 1, places, filtered=False))
    else:
        found = list(fixed_array(blocks, header, 1, 300_000, places, filtered=False))
    for place, chunk in zip(places, found, strict=True):
        if any(part.start <= place < part.stop for part in WRITTEN):
            assert chunk is not None, place
            assert (blocks.file.view(chunk.offset, 1)[0], chunk.length) == (values[place], 1)
        else:
            assert chunk is None, place


def test_a_place_that_the_list_cannot_have(tmp_path: Path) -> None:
    blocks, header, _ = chunk_list(tmp_path / "x", None, [slice(0, 30)])
    with pytest.raises(CorruptCheckpointError, match="does not fit its shape"):
        list(extensible_array(blocks, header, 1, [1 << 60], filtered=False))


def listed(path: Path, limits: tuple[int | None, ...], **settings: Any) -> Path:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("bad", data=random((60, 9)), maxshape=limits, chunks=(2, 3), **settings)
    return path


SIGNATURES: dict[str, tuple[tuple[int | None, ...], list[bytes]]] = {
    "extensible": ((None, 9), [b"EAHD", b"EAIB", b"EASB", b"EADB"]),
    "fixed": ((90, 9), [b"FAHD", b"FADB"]),
    "tree": ((None, None), [b"BTHD", b"BTLF"]),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", SIGNATURES)
def test_damage_anywhere_in_a_list(kind: str, packed: bool, tmp_path: Path) -> None:
    """Each byte of its first blocks is turned round: an error of ours that names the dataset, or an array of
    its shape. Bytes that nobody reads are checksums and statistics."""
    limits, signatures = SIGNATURES[kind]
    path = listed(tmp_path / "x", limits, **({"compression": "gzip"} if packed else {}))
    whole = path.read_bytes()
    right = random((60, 9)).tobytes()
    refused = 0
    for signature in signatures:
        start = whole.find(signature)
        if start < 0:
            continue
        for place in range(start, start + 72):
            damaged = bytearray(whole)
            damaged[place] ^= 0xFF
            path.write_bytes(damaged)
            try:
                tree: Any = read_container(path).tree
                read = tree["bad"].read().numpy().tobytes()
            except CheckpointError as error:
                assert f"{path}: /bad" in str(error) or f"{path}: bad" in str(error)  # noqa: PT017
                refused += 1
            else:
                # An address within the file may lead to other bytes; checksums are not computed.
                assert len(read) == len(right)
    assert refused > 40


@pytest.mark.parametrize("kind", SIGNATURES)
def test_truncation(kind: str, tmp_path: Path) -> None:
    limits, signatures = SIGNATURES[kind]
    path = listed(tmp_path / "x", limits)
    whole = path.read_bytes()
    for signature in signatures:
        start = whole.rfind(signature)
        if start > 0:
            path.write_bytes(whole[: start + 20])
            with pytest.raises(CorruptCheckpointError, match="x"):
                read_container(path)


def patched(path: Path, signature: bytes, place: int, new: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    start = whole.index(signature) + place
    whole[start : start + len(new)] = new
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize(
    ("limits", "patch", "message"),
    [
        ((None, 9), (b"EAHD", 6, b"\x09"), "list of chunks is damaged"),
        ((None, 9), (b"EAHD", 7, b"\xff"), "list of chunks is damaged"),
        ((None, 9), (b"EAHD", 7, b"\x02"), "list of chunks is damaged"),
        ((None, 9), (b"EAHD", 8, b"\xff"), "two|twice|shorter|ends before|not fit|never"),
        ((None, 9), (b"EAHD", 9, b"\x03"), "list of chunks is damaged"),
        ((None, 9), (b"EAHD", 10, b"\x01"), "list of chunks is damaged"),
        ((None, 9), (b"EAHD", 11, b"\x40"), "list of chunks is damaged"),
        ((None, 9), (b"EAHD", 60, b"\xff" * 8), "90 of its 90 chunks were never written"),
        ((None, 9), (b"EAHD", 60, b"\x00" * 8), "no EAIB block"),
        ((None, 9), (b"EAIB", 14, b"\xff" * 8), "1 of its 90 chunks were never written"),
        ((None, 9), (b"EAIB", 14, b"\xf0" * 8), "ends before one of its chunks"),
        ((90, 9), (b"FAHD", 8, b"\x88" + bytes(7)), "does not fit its shape"),
        ((90, 9), (b"FAHD", 7, b"\xff"), "does not fit its shape"),
        ((None, None), (b"BTHD", 5, b"\x0b"), "B-tree is damaged"),
    ],
)
def test_lists_that_lie(
    limits: tuple[int | None, ...], patch: tuple[bytes, int, bytes], message: str, tmp_path: Path
) -> None:
    path = patched(listed(tmp_path / "x", limits), *patch)
    with pytest.raises((CorruptCheckpointError, UnsafeCheckpointError), match=message) as caught:
        read_container(path)
    assert f"{path}: /bad" in str(caught.value)


def test_a_shape_that_may_become_impossibly_large(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w", libver="latest") as file:
        file.create_dataset("bad", data=random((4, 9)), maxshape=(None, 9), chunks=(2, 3))
    whole = (tmp_path / "x").read_bytes()
    limits = ((1 << 64) - 1).to_bytes(8, "little") + (9).to_bytes(8, "little")
    assert whole.count(limits) == 1
    (tmp_path / "x").write_bytes(whole.replace(limits, limits[:8] + ((1 << 64) - 2).to_bytes(8, "little")))
    with pytest.raises(CorruptCheckpointError, match=r"/bad: the shape that it may have is impossible"):
        read_container(tmp_path / "x")


def test_only_the_chunks_of_a_slice_are_read(tmp_path: Path, read_of: Callable[[Path], Any]) -> None:
    path = listed(tmp_path / "x", (None, 9))
    file = read_of(path)
    tree: Any = read_container(file).tree
    file.read.clear()
    assert torch.equal(tree["bad"][10:12, :3], torch.from_numpy(random((60, 9))[10:12, :3]))
    assert sum(file.read) == 2 * 3 * 4


@pytest.fixture
def read_of() -> Callable[[Path], Any]:
    class Counted:
        """A file that notes how many bytes are looked at."""

        def __init__(self, path: Path) -> None:
            self.inner = MappedFile(path)
            self.read: list[int] = []
            self.name, self.path, self.size, self.data = str(path), path, self.inner.size, self.inner.data

        def view(self, offset: int, length: int) -> memoryview:
            self.read.append(length)
            return self.inner.view(offset, length)

    return Counted
