"""`verify=True`: damaged data is found before it is given out, whole entries at the first touch."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp

import torchgraft as tg
from torchgraft.errors import CorruptCheckpointError
from torchgraft.storage import checksums

A, B = torch.arange(3000.0).reshape(1000, 3), torch.arange(5000.0, 5100.0)


def write_torch(path: Path) -> Path:
    torch.save({"a": A, "b": B}, path / "x.pth")
    return path / "x.pth"


def write_shards(path: Path) -> Path:
    torch.save({"a": A}, path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": B}, path / "pytorch_model-00002-of-00002.bin")
    return path


def write_npz(path: Path) -> Path:
    np.savez(path / "x.npz", a=A.numpy(), b=B.numpy())
    return path / "x.npz"


def write_dcp(path: Path) -> Path:
    dcp.save({"a": A, "b": B}, checkpoint_id=path / "dcp")
    return path / "dcp"


WRITERS = [write_torch, write_shards, write_npz, write_dcp]


def damage(place: Path, part: torch.Tensor) -> None:
    """Change one bit in the middle of a tensor, wherever it is stored."""
    raw = part.numpy().tobytes()
    for file in [place] if place.is_file() else sorted(place.iterdir()):
        data = bytearray(file.read_bytes())
        at = data.find(raw)
        if at >= 0:
            data[at + len(raw) // 2] ^= 1
            file.write_bytes(data)
            return
    raise AssertionError("the tensor is not there")


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("write", WRITERS)
def test_damage_is_found_at_the_first_touch(write, tmp_path):
    place = write(tmp_path)
    opened = tg.open(place, verify=True)
    assert torch.equal(opened["a"].read(), A)
    assert torch.equal(opened["b"][3:5], B[3:5])
    damage(place, A)
    assert not torch.equal(tg.open(place)["a"].read(), A)
    opened = tg.open(place, verify=True)
    for _ in range(2):  # again and again, not only the first time
        with pytest.raises(CorruptCheckpointError, match="not what its checksum says") as caught:
            opened["a"][0]
        assert str(place) in str(caught.value.where)
        assert "download" in str(caught.value.hint)
    assert torch.equal(opened["b"].read(), B)


def test_an_entry_is_summed_up_once(tmp_path, monkeypatch):
    summed = []
    real = checksums.crc32
    monkeypatch.setattr(checksums, "crc32", lambda data, value: summed.append(len(data)) or real(data, value))
    place = write_torch(tmp_path)
    opened = tg.open(place, verify=True)
    assert A.nbytes not in summed
    summed.clear()
    for _ in range(3):
        opened["a"][5].sum()
    assert summed == [A.nbytes]
    tg.open(place)["a"].read()
    assert summed == [A.nbytes]


def test_what_was_written_into_a_view_is_no_damage(tmp_path):
    opened = tg.open(write_torch(tmp_path), verify=True)
    opened["a"].view().zero_()
    assert not opened["a"].read().any()


def test_a_checksum_that_was_not_computed_is_none(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        place = write_torch(tmp_path)
    finally:
        torch.serialization.set_crc32_options(before)
    with zipfile.ZipFile(place) as archive:
        assert archive.getinfo("x/data/0").CRC in (0, archive.getinfo("x/data/1").CRC)
    assert torch.equal(tg.open(place, verify=True)["a"].read(), A)


def test_formats_without_checksums_open_as_well(tmp_path):
    tg.save({"a": A}, tmp_path / "x.safetensors")
    assert torch.equal(tg.open(tmp_path / "x.safetensors", verify=True)["a"].read(), A)
    torch.save({"a": A}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(tg.open(tmp_path / "old.pth", verify=True)["a"].read(), A)


def test_compressed_entries_are_checked_in_any_case(tmp_path):
    with (
        zipfile.ZipFile(write_torch(tmp_path)) as old,
        zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert torch.equal(tg.open(tmp_path / "y.pth", verify=True)["a"].read(), A)
    data = bytearray((tmp_path / "y.pth").read_bytes())
    data[data.index(b"x/data/0") + 200] ^= 1
    (tmp_path / "y.pth").write_bytes(data)
    for verify in (False, True):
        with pytest.raises(CorruptCheckpointError, match=r"decompressed|checksum"):
            tg.open(tmp_path / "y.pth", verify=verify)["a"].read()
