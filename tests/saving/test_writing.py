"""The writers themselves: memory, order, alignment, and archives of many or large entries."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file

import torchgraft as tg
from torchgraft.errors import SaveError
from torchgraft.saving import size_in_bytes
from torchgraft.saving.file_sizes import divide
from torchgraft.saving.safetensors_file import SafetensorsFile
from torchgraft.saving.torch_file import write_torch_file
from torchgraft.tensors import TensorRef


class Watched:
    """A tensor that takes no memory, and how many bytes of it were asked for at most at a time."""

    def __init__(self, *shape: int) -> None:
        self._whole = torch.zeros(1).expand(shape)
        self.most = 0
        self.ref = TensorRef("big", shape, "float32", fetch=self._fetch)

    def _fetch(self, index: Any) -> torch.Tensor:
        part = self._whole[index]
        self.most = max(self.most, part.numel() * 4)
        return part


class Counting(io.RawIOBase):
    """A file that keeps nothing but its length."""

    def __init__(self) -> None:
        self.length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.length += len(data)
        return len(data)


@pytest.mark.parametrize(
    "shape", [(1 << 26,), (1, 1 << 26), (1 << 13, 1 << 13), (4, 2, 1 << 23), (1 << 26, 1, 1)]
)
def test_a_large_tensor_is_never_in_memory_whole(shape: tuple[int, ...]) -> None:
    watched = Watched(*shape)
    file = Counting()
    SafetensorsFile({"big": watched.ref}, {}, where="x").write(file)  # type: ignore[arg-type]
    assert file.length > 1 << 28
    assert watched.most <= 32 << 20


def test_every_tensor_begins_where_its_elements_may() -> None:
    tensors = {
        f"{i} {dtype}": torch.ones(3, dtype=getattr(torch, dtype))
        for i in range(2)
        for dtype in ("bool", "float16", "complex64", "int8", "float32", "int64")
    }
    refs = dict(tg.Checkpoint.from_state_dict(tensors))
    file = io.BytesIO()
    SafetensorsFile(refs, {}, where="x").write(file)
    raw = file.getvalue()
    assert load(raw).keys() == tensors.keys()
    header = int.from_bytes(raw[:8], "little")
    assert header % 8 == 0
    import json

    places = json.loads(raw[8 : 8 + header])
    del places["__metadata__"]
    assert list(places) == list(tensors)  # in the order of the checkpoint
    for key, place in places.items():
        assert place["data_offsets"][0] % tensors[key].itemsize == 0

    file = io.BytesIO()
    write_torch_file(refs, file)
    for entry in zipfile.ZipFile(file).infolist():
        if "/data/" in entry.filename:
            name, extra = struct.unpack_from("<2H", file.getvalue(), entry.header_offset + 26)
            assert (entry.header_offset + 30 + name + extra) % 64 == 0


def test_an_archive_of_more_entries_than_a_small_directory_counts(tmp_path: Path) -> None:
    tensors = dict.fromkeys(
        map(str, range(66_000)), TensorRef("", (1,), "float32", fetch=lambda _: torch.ones(1))
    )
    with (tmp_path / "x.pth").open("wb") as file:
        write_torch_file(tensors, file)
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        assert len(archive.infolist()) == 66_003
        assert archive.read("archive/data/65999") == struct.pack("<f", 1)
    opened = tg.open(tmp_path / "x.pth")
    assert len(opened) == 66_000
    assert opened["65999"].read() == 1


def test_torch_maps_what_was_written(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(100, 3), "b": torch.rand(7).to(torch.float8_e5m2)}
    tg.convert(tg.Checkpoint.from_state_dict(tensors), tmp_path / "x.pth")
    mapped = torch.load(tmp_path / "x.pth", weights_only=True, mmap=True)
    assert torch.equal(mapped["a"], tensors["a"])
    assert torch.equal(mapped["b"].float(), tensors["b"].float())


def test_a_header_that_readers_refuse_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchgraft.saving.safetensors_file.MAX_HEADER", 1000)
    refs = {f"{'x' * 100}{i}": Watched(1).ref for i in range(20)}
    with pytest.raises(SaveError, match="readers accept 1000") as caught:
        SafetensorsFile(refs, {}, where="x.safetensors")
    assert caught.value.where == "x.safetensors"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.ones(3, dtype=torch.float64), "read as torch.float64, not as float32"),
        (torch.ones(2), "8 bytes instead of 12"),
    ],
)
def test_a_tensor_that_is_not_what_was_said_shifts_no_others(
    given: torch.Tensor, message: str, tmp_path: Path
) -> None:
    lying = TensorRef("it", (3,), "float32", fetch=lambda _: given)
    for target in ("x.safetensors", "x.pth", "folder"):
        with pytest.raises(SaveError, match=message) as caught:
            tg.convert(tg.Checkpoint({"it": lying}), tmp_path / target)
        assert caught.value.where == "it"
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_saved_piece_by_piece_too(tmp_path: Path) -> None:
    watched = Watched(3, 1 << 22)
    tg.save(tg.Checkpoint({"big": watched.ref}), tmp_path / "x.safetensors")
    assert watched.most <= 32 << 20
    assert load_file(tmp_path / "x.safetensors")["big"].shape == (3, 1 << 22)


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (7, 7),
        ("7", 7),
        ("5GB", 5 * 10**9),
        ("5 gib", 5 << 30),
        ("1.5MB", 1_500_000),
        ("2K", 2000),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(size: int | str, number: int) -> None:
    assert size_in_bytes(size) == number


@pytest.mark.parametrize("size", ["", "GB", "5XB", "-5GB", "0", "0.1", -1])
def test_what_is_no_size(size: int | str) -> None:
    with pytest.raises(ValueError, match="shard_size"):
        size_in_bytes(size)


@pytest.mark.parametrize(
    ("most", "groups"),
    [
        (100, [["a", "b", "c", "d"]]),
        (16, [["a", "b"], ["c"], ["d"]]),
        (1, [["a"], ["b"], ["c"], ["d"]]),
    ],
)
def test_groups_keep_the_order(most: int, groups: list[list[str]]) -> None:
    refs = {key: Watched(n).ref for key, n in (("a", 2), ("b", 2), ("c", 10), ("d", 1))}
    assert [list(group) for group in divide(refs, most)] == groups
    assert divide({}, most) == [{}]
