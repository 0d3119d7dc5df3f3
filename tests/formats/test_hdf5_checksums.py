"""`verify=True`: newer HDF5 files keep checksums of all that describes their arrays."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.hdf5.blocks import Blocks
from torchgraft.formats.hdf5.lookup3 import lookup3


@pytest.mark.parametrize(
    ("data", "value"), [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)]
)
def test_the_values_that_its_author_published(data: bytes, value: int) -> None:
    assert lookup3(data) == value


def write(path: Path, members: int) -> bytes:
    """A group of so many arrays: from 9 on they are listed in a heap and a tree, then in several of each."""
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(members):
            file[f"group/the array of number {number:05}"] = np.float32(number)
        for number in range(20):
            file["group"].attrs[f"attribute {number}"] = json.dumps(["text"] * 20)
        packed = {"chunks": (3, 3), "compression": "gzip", "fletcher32": True}
        made = file.create_dataset("packed", data=np.arange(400.0).reshape(20, 20), **packed)
        for number in range(5):  # few enough for the header, which continues elsewhere
            made.attrs[f"attribute {number}"] = np.arange(20)
    return path.read_bytes()


@pytest.mark.parametrize("members", [1, 9, 40, 3000])
def test_honest_files_have_the_checksums_that_are_expected(members: int, tmp_path: Path) -> None:
    write(tmp_path / "x", members)
    container = read_container(tmp_path / "x", verify=True)
    assert isinstance(container.tree, dict)
    assert len(container.tree) == members + 1


def test_each_kind_of_block_is_held_against_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "x", 400)
    checksums: dict[bytes, int] = {}
    real = Blocks.verify

    def note(blocks: Blocks, address: int, length: int, *, without: int | None = None) -> None:
        place = address + (length if without is None else without)
        checksums.setdefault(whole[address : address + 4], place)
        real(blocks, address, length, without=without)

    with monkeypatch.context() as patch:
        patch.setattr(Blocks, "verify", note)
        read_container(tmp_path / "x", verify=True)
    assert checksums.keys() >= {b"\x89HDF", b"OHDR", b"OCHK", b"FRHP", b"FHIB", b"FHDB", b"BTHD", b"BTLF"}
    for place in checksums.values():
        damaged = bytearray(whole)
        damaged[place] ^= 1  # no number that is read differs
        (tmp_path / "x").write_bytes(damaged)
        read_container(tmp_path / "x")
        with pytest.raises(CorruptCheckpointError, match=r"x: /.*are not what their checksum says"):
            read_container(tmp_path / "x", verify=True)
