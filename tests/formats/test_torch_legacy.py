"""Legacy files made by hand: what PyTorch wrote years ago, and what contradicts itself."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats import read_container

PART = ("part", 1, 4)
"""A storage that is a part of another: its key, offset and size."""


class Storage:
    """Stands for a storage in a pickle."""

    def __init__(self, view: object = None, *, key: str = "k", numel: int = 6) -> None:
        self.id = ("storage", torch.FloatStorage, key, "cpu", numel, view)


class Tensor:
    def __init__(self, storage: Storage, offset: int = 0, size: int = 4) -> None:
        self.args = (storage, offset, (size,), (1,))

    def __reduce__(self) -> tuple[object, object]:
        return torch._utils._rebuild_tensor, self.args


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.id if isinstance(obj, Storage) else None


def legacy(
    tree: object,
    keys: Any = ("k",),
    counts: tuple[int, ...] = (6,),
    *,
    little: bool = True,
    protocol: int = 1001,
) -> bytes:
    buffer = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, protocol, {"little_endian": little}):
        pickle.dump(part, buffer, 2)
    Pickler(buffer, 2).dump(tree)
    pickle.dump(list(keys) if isinstance(keys, tuple) else keys, buffer, 2)
    for count in counts:
        order = "<" if little else ">"
        buffer.write(struct.pack(f"{order}q", count) + struct.pack(f"{order}6f", 0, 1, 2, 3, 4, 5))
    return buffer.getvalue()


def test_a_part_of_a_storage(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(legacy({"all": Tensor(Storage()), "part": Tensor(Storage(PART), 1, 3)}))
    tree = read_container(tmp_path / "x").tree
    theirs = torch.load(tmp_path / "x", weights_only=False)
    assert isinstance(tree, dict)
    assert tree["part"].read().tolist() == theirs["part"].tolist() == [2, 3, 4]
    assert tree["all"].read().tolist() == [0, 1, 2, 3]


def test_a_file_of_a_big_endian_machine(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(legacy({"a": Tensor(Storage(), 1, 3)}, little=False))
    tree: Any = read_container(tmp_path / "x").tree
    assert tree["a"].read().tolist() == [1, 2, 3]
    assert tree["a"][1:].tolist() == [2, 3]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(legacy(Tensor(Storage()), counts=(5,)), id="another count"),
        pytest.param(legacy(Tensor(Storage()), counts=(-6,)), id="a negative count"),
        pytest.param(legacy(Tensor(Storage()), counts=(1 << 62,)), id="a huge count"),
        pytest.param(legacy(Tensor(Storage(numel=1 << 60)), counts=(1 << 60,)), id="a huge storage"),
        pytest.param(legacy(Tensor(Storage()), counts=()), id="no bytes"),
        pytest.param(legacy(Tensor(Storage()), keys=(), counts=()), id="no keys"),
        pytest.param(legacy(Tensor(Storage()), keys={"k": 1}), id="keys that are no list"),
        pytest.param(legacy(Tensor(Storage()), keys=("k", "k"), counts=(6, 6)), id="a key twice"),
        pytest.param(legacy(Tensor(Storage()), keys=("k", "x"), counts=(6, 6)), id="a key nobody uses"),
        pytest.param(legacy([Tensor(Storage()), Tensor(Storage(numel=5))]), id="two sizes of one storage"),
        pytest.param(legacy(Tensor(Storage(("p", 3, 4)))), id="a part beyond its storage"),
        pytest.param(legacy(Tensor(Storage(PART), 1, 4)), id="a tensor beyond its part"),
        pytest.param(legacy({}, (), (), protocol=1002), id="another version"),
    ],
)
def test_lies_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CorruptCheckpointError, match=str(tmp_path)):
        read_container(tmp_path / "x")
