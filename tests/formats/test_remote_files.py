"""Containers in remote files: the same tensors as from a local one, few requests, and no check left out."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.archives.zip_directory import read_directory
from torchgraft.formats.container import Container
from torchgraft.storage.header_bytes import BLOCK
from torchgraft.storage.prefetching import prefetched
from torchgraft.storage.remote_file import RemoteFile
from torchgraft.tensors import TensorRef


class Ranges:
    """A remote file of these bytes; notes what it is asked for."""

    name = "far://file"

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.asked: list[tuple[int, int]] = []

    def read_into(self, offset: int, into: memoryview) -> None:
        self.asked.append((offset, len(into)))
        into[:] = self.content[offset : offset + len(into)]

    def check(self) -> None:
        pass

    @property
    def sent(self) -> int:
        return sum(length for _, length in self.asked)


def remote(path: Path) -> tuple[Ranges, RemoteFile]:
    ranges = Ranges(path.read_bytes())
    return ranges, RemoteFile(ranges)


def weights() -> dict[str, torch.Tensor]:
    """Large and small, of several dtypes, views of one storage, transposed, empty and 0-d."""
    shared = torch.arange(50_000, dtype=torch.float32)
    return {
        "large": torch.randn(300, 200),
        "bias": torch.randn(7),
        "half": torch.randn(9, 31).half(),
        "bytes": torch.arange(201, dtype=torch.uint8),
        "transposed": torch.randn(40, 90).t(),
        "start": shared[:100],
        "end": shared[49_000:].view(10, 100),
        "scalar": torch.tensor(3.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "complex": torch.randn(5, dtype=torch.complex64),
    }


def save(kind: str, path: Path, tensors: dict[str, torch.Tensor]) -> None:
    if kind == "safetensors":
        save_file({key: value.clone().contiguous() for key, value in tensors.items()}, path)
    elif kind in ("npz", "npz compressed"):
        arrays = {key: value.numpy() for key, value in tensors.items()}
        with path.open("wb") as file:
            (np.savez if kind == "npz" else np.savez_compressed)(file, **arrays)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind.startswith("zip"))
    if kind == "zip compressed":
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries.items():
                archive.writestr(name, data)


KINDS = ["zip", "zip compressed", "legacy", "safetensors", "npz", "npz compressed"]


def refs_of(container: Container) -> dict[str, TensorRef]:
    assert isinstance(container.tree, dict)
    return {key: value for key, value in container.tree.items() if isinstance(value, TensorRef)}


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_those_of_the_local_file(kind: str, ahead: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = weights()
    path = tmp_path / "x"
    save(kind, path, tensors)
    ranges, file = remote(path)
    container = read_container(file)
    assert (container.name, container.path) == ("far://file", None)
    refs, local = refs_of(container), refs_of(read_container(path))
    assert list(refs) == list(local)
    assert refs.keys() == tensors.keys()
    with prefetched(span for ref in refs.values() if ahead for span in ref.spans()):
        asked = len(ranges.asked)
        for key, tensor in tensors.items():
            assert same(refs[key].view(), tensor)
            for index in (slice(1, 3), (..., slice(None, None, 2)), None):
                assert same(refs[key][index if tensor.dim() else ...], tensor[index if tensor.dim() else ...])
        if ahead and kind != "zip compressed":
            assert len(ranges.asked) == asked
    assert ranges.sent <= 2.5 * ranges.size + 4 * BLOCK


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    return torch.equal(
        ours.contiguous().view(-1).view(torch.uint8), theirs.contiguous().view(-1).view(torch.uint8)
    )


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "npz"])
def test_a_slice_reads_its_bytes_alone(kind: str, tmp_path: Path) -> None:
    tensor = torch.randn(2_000, 500)
    save(kind, tmp_path / "x", {"first": torch.randn(50_000), "weight": tensor, "last": torch.randn(50_000)})
    ranges, file = remote(tmp_path / "x")
    ref = refs_of(read_container(file))["weight"]
    ranges.asked.clear()
    assert torch.equal(ref[1_000:1_100], tensor[1_000:1_100])
    assert 200_000 <= ranges.sent <= 200_000 + 2 * BLOCK
    assert len(ranges.asked) <= 2
    ranges.asked.clear()
    assert torch.equal(ref[-1], tensor[-1])
    assert ranges.sent <= 2 * BLOCK


MOST_REQUESTS = {"zip": 4, "legacy": 8, "safetensors": 2}


@pytest.mark.parametrize("count", [10, 300, 5_000])
@pytest.mark.parametrize("kind", MOST_REQUESTS)
def test_opening_takes_few_requests(kind: str, count: int, tmp_path: Path) -> None:
    tensors = {f"backbone.stage{i}.weight": torch.zeros(8) for i in range(count)}
    save(kind, tmp_path / "x", {**tensors, "large": torch.zeros(500_000)})
    ranges, file = remote(tmp_path / "x")
    assert len(refs_of(read_container(file))) == count + 1
    assert len(ranges.asked) <= MOST_REQUESTS[kind]
    assert ranges.sent < ranges.size


def test_an_archive_of_many_arrays_opens_in_few_requests(tmp_path: Path) -> None:
    save("npz", tmp_path / "x", {f"layer{i}/kernel": torch.zeros(3_000) for i in range(300)})
    ranges, file = remote(tmp_path / "x")
    assert len(refs_of(read_container(file))) == 300
    assert len(ranges.asked) <= 10


def changed(path: Path, place: int, layout: str, value: int) -> Path:
    """The archive with a number of its entry's own header changed."""
    data = bytearray(path.read_bytes())
    local = data.index(b"PK\x03\x04", data.index(b"data/0") - 60)
    struct.pack_into(layout, data, local + place, value)
    path.write_bytes(data)
    return path


# Places in the header are those of PKWARE's APPNOTE 4.3.7.
LIES = {
    "no header": (0, "<L", 0),
    "another method": (8, "<H", 8),
    "another stored size": (18, "<L", 7),
    "another size": (22, "<L", 9),
    "a shorter name": (26, "<H", 9),
    "another name": (30, "<B", 0x58),
    "data beyond the end": (28, "<H", 60_000),
    "data in what follows": (28, "<H", 40),
}


@pytest.mark.parametrize("size", [8, 3 * BLOCK])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_entrys_own_header_is_checked_when_it_is_read(
    lie: tuple[int, str, int], size: int, pack: Callable[..., Path]
) -> None:
    _, file = remote(changed(pack(b"\x80\x02}.", {"0": bytes(size), "1": b"12345678"}), *lie))
    entries = read_directory(file)
    entry = entries["made/data/0"]
    for read in (entry.view, lambda: entry.part(size - 1, 1), lambda: entry.offset):
        with pytest.raises(CorruptCheckpointError, match=r"far://file.*'made/data/0' is not what"):
            read()
    assert bytes(entries["made/data/1"].view()) == b"12345678"


@pytest.mark.parametrize("size", [8, 1000, 3 * BLOCK])
@pytest.mark.parametrize("extra", [0, 63, 4_000, 65_000])
def test_what_is_between_header_and_data_is_passed_over(extra: int, size: int, tmp_path: Path) -> None:
    content = random.Random(size).randbytes(size)
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        info = zipfile.ZipInfo("entry")
        info.extra = struct.pack("<2H", 0x4242, extra - 4) + bytes(extra - 4) if extra else b""
        archive.writestr(info, content)
        archive.writestr("after", b"x" * 200_000)
    data = (tmp_path / "x").read_bytes()
    for begin, length in [(0, size), (size - 3, 3), (size // 2, 4)]:
        file = RemoteFile(Ranges(data))
        entry = read_directory(file)["entry"]
        assert bytes(entry.part(begin, length)) == content[begin : begin + length]
        entry = read_directory(file)["entry"]
        with prefetched(entry.spans(begin, length)):
            assert bytes(entry.part(begin, length)) == content[begin : begin + length]


def test_truncation_and_overlaps_are_told_when_the_archive_is_opened(pack: Callable[..., Path]) -> None:
    path = pack(b"\x80\x02}.", {"0": b"12345678", "1": b"abcdefgh"})
    good = path.read_bytes()
    record = good.rindex(b"PK\x01\x02")
    for place, layout, value in [(42, "<L", 0), (20, "<L", 1 << 31), (10, "<H", 14)]:
        data = bytearray(good)
        struct.pack_into(layout, data, record + place, value)
        with pytest.raises(CheckpointError, match="far://file"):
            read_container(RemoteFile(Ranges(bytes(data))))
    for keep in (100, len(good) - 1, len(good) - 60):
        with pytest.raises(CorruptCheckpointError, match="truncated"):
            read_container(RemoteFile(Ranges(good[:keep])))


def test_checksums_are_held_against_bytes_that_come_once(tmp_path: Path) -> None:
    tensor = torch.randn(1_000, 300)
    save("zip", tmp_path / "x", {"weight": tensor})
    data = bytearray((tmp_path / "x").read_bytes())
    ranges = Ranges(bytes(data))
    ref = refs_of(read_container(RemoteFile(ranges, verify=True)))["weight"]
    ranges.asked.clear()
    assert torch.equal(ref[5:7], tensor[5:7])
    assert ranges.sent <= tensor.nbytes + BLOCK
    data[data.index(tensor.numpy().tobytes()) + 1_000_000] ^= 1
    ref = refs_of(read_container(RemoteFile(Ranges(bytes(data)), verify=True)))["weight"]
    with pytest.raises(CorruptCheckpointError, match=r"far://file: .*data/0: .*checksum"):
        ref[5:7]


def test_the_count_before_an_old_files_storage_is_checked_when_it_is_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(40.0), "b": torch.arange(40_000.0)}
    save("legacy", tmp_path / "x", tensors)
    data = bytearray((tmp_path / "x").read_bytes())
    place = data.index(tensors["b"].numpy().tobytes()) - 8
    struct.pack_into("<q", data, place, 39_999)
    refs = refs_of(read_container(RemoteFile(Ranges(bytes(data)))))
    assert torch.equal(refs["a"].read(), tensors["a"])
    for index in (slice(0, 1), slice(39_000, None)):
        with pytest.raises(CorruptCheckpointError, match=r"far://file.*39999 elements instead of 40000"):
            refs["b"][index]
    with pytest.raises(CorruptCheckpointError, match=r"far://file.*bytes at"):
        read_container(RemoteFile(Ranges(bytes(data[:-1]))))
