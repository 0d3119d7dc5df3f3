"""The tar archives of PyTorch before 0.1.10, made by hand as it made them; `torch.load` still reads them."""

from __future__ import annotations

import io
import pickle
import random
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from torchgraft.errors import CheckpointError, UnknownFormatError
from torchgraft.formats import read_container
from torchgraft.tensors import TensorRef


class Kept:
    """Stands for a tensor or storage in the pickle."""

    def __init__(self, key: object) -> None:
        self.key = key


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.key if isinstance(obj, Kept) else None


def dumped(*values: object) -> bytes:
    return b"".join(pickle.dumps(value, 2) for value in values)


def storages(
    counts: tuple[int, ...] = (6, 3),
    views: object = (("77", 10, 1, 3),),
    number: object = 2,
    order: str = "<",
) -> bytes:
    first = dumped((10, "cpu", torch.FloatStorage)) + struct.pack(f"{order}q6f", counts[0], 0, 1, 2, 3, 4, 5)
    second = dumped((11, "cuda:3", torch.LongStorage)) + struct.pack(f"{order}q3q", counts[1], 7, 8, 9)
    views = [(int(key), *rest) for key, *rest in views] if isinstance(views, tuple) else views
    return dumped(number) + first + second + dumped(views)


def tensor(
    key: object, storage: object, shape: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> bytes:
    numbers = struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, offset)
    return dumped((key, storage, torch.FloatTensor)) + struct.pack("<iI", len(shape), 0) + numbers


TENSORS = (
    tensor(1, 10, (2, 3), (3, 1), 0)
    + tensor(2, 10, (3, 2), (1, 3), 0)
    + tensor(3, 11, (3,), (1,), 0)
    + tensor(4, 77, (2,), (1,), 1)
    + tensor(5, 10, (), (), 4)
)


def tree(*more: object) -> bytes:
    buffer = io.BytesIO()
    kept = {name: Kept(str(key)) for key, name in enumerate(["a", "t", "long", "part", "scalar"], 1)}
    Pickler(buffer, 2).dump({"model": kept, "tied": Kept("1"), "epoch": 3, "more": more})
    return buffer.getvalue()


def archive(path: Path, *, extra: dict[str, bytes] | None = None, **members: bytes) -> Path:
    sys_info = dumped({"protocol_version": 1000, "little_endian": True, "type_sizes": {"int": 4}})
    parts = {
        "sys_info": sys_info, "pickle": tree(), "tensors": dumped(5) + TENSORS, "storages": storages(),
    } | members | (extra or {})  # fmt: skip
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as made:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:TypedStorage is deprecated")
def test_the_same_as_torch_load(tmp_path: Path, assert_same: Callable[[object, object], None]) -> None:
    path = archive(tmp_path / "x")
    container = read_container(path)
    assert container.format == "torch tar"
    assert_same(container.tree, torch.load(path, map_location="cpu", weights_only=False))
    ours: Any = container.tree
    assert ours["model"]["a"].alias == ours["tied"].alias != ours["model"]["t"].alias
    assert ours["model"]["t"][1:].tolist() == [[1, 4], [2, 5]]


def test_a_file_of_a_big_endian_machine(tmp_path: Path) -> None:
    path = archive(tmp_path / "x", sys_info=dumped({"little_endian": False}), storages=storages(order=">"))
    ours: Any = read_container(path).tree
    assert ours["model"]["a"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert ours["model"]["part"].read().tolist() == [2, 3]


def test_a_class_with_its_source_is_a_class(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"m": Kept((torch.nn.Linear, "linear.py", "class Linear: …")), "a": Kept("1")})
    ours: Any = read_container(archive(tmp_path / "x", pickle=buffer.getvalue())).tree
    assert "torch.nn.modules.linear.Linear" in str(ours["m"])


def test_other_tar_archives_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x", "w:") as made:
        made.addfile(tarfile.TarInfo("model.pth"))
    with pytest.raises(UnknownFormatError, match="a tar archive"):
        read_container(tmp_path / "x")


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"storages": storages((7, 3))}, id="a storage beyond the others"),
        pytest.param({"storages": storages((1 << 60, 3))}, id="a huge storage"),
        pytest.param({"storages": storages((-6, 3))}, id="a negative storage"),
        pytest.param({"storages": storages(number=3)}, id="more storages announced"),
        pytest.param({"storages": storages(number=-1)}, id="a negative number"),
        pytest.param({"storages": storages(number="2")}, id="a number that is none"),
        pytest.param({"storages": storages(number=1 << 62)}, id="a huge number"),
        pytest.param({"storages": storages(views=(("77", 10, 4, 3),))}, id="a view beyond its storage"),
        pytest.param({"storages": storages(views=(("77", 10, -1, 3),))}, id="a view before its storage"),
        pytest.param({"storages": storages(views=(("77", 99, 0, 1),))}, id="a view of nothing"),
        pytest.param({"storages": storages(views=(("10", 11, 0, 1),))}, id="a view called as a storage"),
        pytest.param({"storages": storages(views=3)}, id="views that are none"),
        pytest.param({"tensors": dumped(1) + tensor(1, 99, (1,), (1,), 0)}, id="a tensor over nothing"),
        pytest.param({"tensors": dumped(1) + tensor(1, 10, (7,), (1,), 0)}, id="a tensor beyond its storage"),
        pytest.param({"tensors": dumped(1) + tensor(1, 10, (2,), (-1,), 1)}, id="a negative stride"),
        pytest.param({"tensors": dumped(1) + tensor(1, 10, (1,), (1,), -1)}, id="a negative offset"),
        pytest.param({"tensors": dumped(1) + tensor(1, 10, (1,) * 65, (1,) * 65, 0)}, id="65 dimensions"),
        pytest.param({"tensors": dumped(2) + tensor(1, 10, (1,), (1,), 0) * 2}, id="a key twice"),
        pytest.param({"tensors": dumped(1) + tensor(10, 10, (1,), (1,), 0)}, id="a key of a storage"),
        pytest.param({"tensors": dumped(1) + tensor("x", 10, (1,), (1,), 0)}, id="a key that is none"),
        pytest.param({"tensors": dumped(1, 7)}, id="a tensor that is none"),
        pytest.param({"tensors": dumped(1 << 62)}, id="more tensors announced"),
        pytest.param({"tensors": dumped(0)}, id="no tensors"),
        pytest.param({"pickle": b""}, id="an empty pickle"),
        pytest.param({"extra": {"../pickle": b"x" * 9, "./tensors": b"x"}}, id="a member twice"),
        pytest.param({"extra": {f"x{number}": b"" for number in range(200)}}, id="many members"),
    ],
)
def test_lies_are_refused(members: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_container(archive(tmp_path / "made.pth", **members))
    assert "made.pth" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(storages())
    with tarfile.open(tmp_path / "x", "w:") as made:
        for name, data in {"sys_info": dumped({}), "pickle": tree(), "tensors": dumped(5) + TENSORS}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = kind, str(secret)
        made.addfile(link)
    with pytest.raises(CheckpointError, match=f"{tmp_path}/x: member 'storages' is a link or a device"):
        read_container(tmp_path / "x")


def test_damage_does_no_harm(tmp_path: Path, walk: Callable[[object], Iterator[object]]) -> None:
    path = archive(tmp_path / "made.pth")
    whole = path.read_bytes()
    end = whole.rindex(b"storages") + 4096
    generator = random.Random(0)
    opened = 0
    for turn in range(500):
        data = bytearray(whole[: generator.randrange(1, end)] if turn % 4 == 0 else whole)
        for _ in range(generator.choice([1, 2, 4]) if turn % 4 else 0):
            data[generator.randrange(min(end, len(data)))] = generator.randrange(256)
        path.write_bytes(data)
        try:
            nodes = list(walk(read_container(path).tree))
        except CheckpointError as error:
            assert "made.pth" in str(error)  # noqa: PT017
        else:
            opened += 1
            assert all(node.read().shape == node.shape for node in nodes if isinstance(node, TensorRef))
    assert 0 < opened < 500
