"""HDF5 files: compared with h5py, and what is lazy about them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from torchgraft.formats import read_container
from torchgraft.formats.hdf5 import Dataset, Group, read_hdf5
from torchgraft.storage.local import MappedFile

VERSIONS = ["earliest", "v108", "v110", "latest"]
DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "?",
          ">i2", ">u4", ">f2", ">f4", ">f8", ">c8"]  # fmt: skip
PACKINGS: dict[str, dict[str, Any]] = {
    "chunks alone": {},
    "gzip": {"compression": "gzip"},
    "shuffle alone": {"shuffle": True},
    "fletcher32": {"fletcher32": True},
    "all": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "one chunk": {"compression": "gzip", "chunks": (20, 13, 3)},
    "one chunk, larger than the array": {"chunks": (32, 16, 4), "maxshape": (32, 16, 4), "shuffle": True},
}


def random(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype("f4")


def fill(file: h5py.File) -> None:
    for dtype in DTYPES:
        values = np.arange(12).reshape(3, 4) - (0 if dtype in "? u1 u2 u4 u8 >u4" else 3)
        file["dtypes/" + dtype.replace("?", "bool")] = values.astype(dtype)
    file["special/nan"] = np.array([np.nan, -np.inf, -0.0, 1e-45], "f4")
    file["shapes/scalar"] = np.float64(2.5)
    file["shapes/empty"] = np.zeros((0, 3), "f4")
    file.create_dataset("shapes/empty in chunks", (0, 3), "f4", maxshape=(9, 3), chunks=(4, 3))
    for name, settings in PACKINGS.items():
        file.create_dataset(f"packed/{name}", data=random((20, 13, 3)), **{"chunks": (7, 5, 2), **settings})
    file.create_dataset("packed/big-endian", data=random((9, 9)).astype(">f4"), chunks=(4, 4), shuffle=True)
    file.create_dataset("packed/pages", data=np.arange(5000, dtype="i4"), chunks=(2,))
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((2, 3))
    small = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, compact)
    small.write(h5py.h5s.ALL, h5py.h5s.ALL, random((2, 3)))
    file["shared"] = file["dtypes/f4"]
    file["ünï"] = np.ones(2)
    for index in range(300):
        file[f"many/{index}"] = np.float32(index)
    file.attrs.update(
        {"text": "ü" * 3, "bytes": b"abc", "long": "x" * 70_000, "number": 3, "float": 1.5, "none": ""}
    )
    file.attrs["fixed"] = np.array([b"a", b"bcd", b""])
    file.attrs["texts"] = ["a", "bb", ""]
    file.attrs["numbers"] = np.arange(5)
    file.attrs["truth"] = np.bool_(True)
    for index in range(40):
        file["many"].attrs[f"a{index}"] = "text" * index


@pytest.fixture(scope="module", params=VERSIONS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hdf5") / f"{request.param}.h5"
    with h5py.File(path, "w", libver=request.param, track_order=request.param == "v110") as file:
        fill(file)
    return path


def plain(value: Any) -> Any:
    """An attribute of h5py as ours are."""
    value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def same(ours: Group, theirs: h5py.Group) -> int:
    """How many datasets there are; all is as h5py has it."""
    assert set(ours.members) == set(theirs)
    assert ours.attributes == {key: plain(value) for key, value in theirs.attrs.items()}
    count = 0
    for name, member in ours.members.items():
        if isinstance(member, Group):
            count += same(member, theirs[name])
            continue
        count += 1
        wanted = theirs[name][()]
        assert isinstance(member, Dataset)
        assert member.tensor is not None
        read = member.tensor.read()
        assert (tuple(read.shape), f"torch.{member.tensor.dtype}") == (wanted.shape, str(read.dtype))
        native = np.asarray(wanted).astype(np.asarray(wanted).dtype.newbyteorder("="))
        assert read.contiguous().numpy().dtype == native.dtype
        assert read.contiguous().numpy().tobytes() == native.tobytes(), name
    return count


def test_the_same_as_h5py(written: Path) -> None:
    with h5py.File(written) as file:
        assert same(read_hdf5(MappedFile(written)), file) > 300


def test_members_come_in_the_order_of_creation(written: Path) -> None:
    root = read_hdf5(MappedFile(written))
    many = root.members["many"]
    assert isinstance(many, Group)
    assert list(many.members) == [str(index) for index in range(300)]
    created = ["dtypes", "special", "shapes", "packed"]
    assert [name for name in root.members if name in created] == created


@pytest.mark.parametrize("size", [0, 512, 1024, 2048])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_block_of_the_users_own_comes_first(size: int, version: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w", libver=version, userblock_size=size) as file:
        file.create_dataset("a", data=np.arange(5.0))
        file.create_dataset("b", data=np.arange(6.0), chunks=(4,), compression="gzip")
        file.attrs["long"] = "text"
    with h5py.File(tmp_path / "x") as file:
        assert same(read_hdf5(MappedFile(tmp_path / "x")), file) == 2


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        (..., 0),
        (slice(3, 17, 4),),
        (slice(None), slice(5, 6), 1),
        (2, None, ..., slice(0, 0)),
        None,
        ...,
        (),
    ],
    ids=str,
)
def test_slices_of_chunks(index: Any, written: Path) -> None:
    root = read_hdf5(MappedFile(written))
    for name in PACKINGS:
        found = root.find(f"packed/{name}")
        assert isinstance(found, Dataset)
        assert found.tensor is not None
        assert torch.equal(found.tensor[index], torch.from_numpy(random((20, 13, 3)))[index])


def test_names_of_one_dataset_are_tied(written: Path) -> None:
    tree = read_container(written).tree
    assert isinstance(tree, dict)
    assert tree["shared"].alias == tree["dtypes/f4"].alias != tree["dtypes/f8"].alias
    assert tree["shared"].name == "shared"
    assert tree["shared"].layout == ""


def test_what_is_no_tensor_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w") as file:
        file["text"] = "hello"
        file["record"] = np.zeros(2, [("a", "f4"), ("b", "i4")])
        file["nothing"] = h5py.Empty("f4")
        file["type"] = np.dtype("f8")
        file["raw"] = np.array([b"ab"], "V2")
        file["ok"] = np.ones(2, "f4")
    container = read_container(tmp_path / "x")
    assert isinstance(container.tree, dict)
    assert container.format == "hdf5"
    assert {key: value for key, value in container.tree.items() if isinstance(value, str)} == {
        "text": "texts of shape []", "record": "records of shape [2]", "nothing": "float32 of shape []",
        "type": "a datatype", "raw": "opaque bytes of shape [1]",
    }  # fmt: skip
    assert container.tree["ok"].read().tolist() == [1, 1]


class Counting:
    """A `ByteFile` that notes what is asked for."""

    path = None

    def __init__(self, content: bytes) -> None:
        self.name, self.size, self.data = "counted", len(content), content
        self.asked: list[tuple[int, int]] = []

    def view(self, offset: int, length: int) -> memoryview:
        self.asked.append((offset, length))
        return memoryview(bytearray(self.data[offset : offset + length]))


def test_only_the_header_is_read_then_only_what_a_slice_needs(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w") as file:
        file["plain"] = random((100, 1000))
        file.create_dataset("chunked", data=random((100, 1000)), chunks=(10, 1000), compression="gzip")
    counted = Counting((tmp_path / "x").read_bytes())
    root = read_hdf5(counted)
    assert sum(length for _, length in counted.asked) < 10_000
    plain, chunked = root.members["plain"], root.members["chunked"]
    assert isinstance(plain, Dataset)
    assert isinstance(chunked, Dataset)
    assert plain.tensor is not None
    assert chunked.tensor is not None
    counted.asked.clear()
    assert torch.equal(chunked.tensor[25:28, 5], torch.from_numpy(random((100, 1000)))[25:28, 5])
    assert len(counted.asked) == 1
    assert counted.asked[0][1] < 45_000
    counted.asked.clear()
    plain.tensor.read()
    assert [length for _, length in counted.asked] == [400_000]


def test_opening_imports_neither_torch_nor_h5py(written: Path) -> None:
    code = (
        "import sys; from torchgraft.formats import read_container; "
        f"read_container({str(written)!r}); print({{'torch', 'h5py', 'numpy'}} & {{*sys.modules}})"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64, torch.float32])
def test_what_is_read_lies_at_a_multiple_of_its_size(dtype: torch.dtype, tmp_path: Path) -> None:
    """A complex number at an odd address crashes the process in PyTorch's vector code."""
    values = torch.arange(9).to(dtype).numpy()
    with h5py.File(tmp_path / "x", "w") as file:
        file["odd"] = np.ones(1, "i1")
        file["a"] = values
    found = read_hdf5(MappedFile(tmp_path / "x")).members["a"]
    assert isinstance(found, Dataset)
    assert found.tensor is not None
    assert found.tensor.view().data_ptr() % dtype.itemsize == 0
    assert found.tensor.read().numpy().tobytes() == values.tobytes()


def test_conversion_is_not_needed(assert_same: Callable[[object, object], None], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x", "w") as file:
        file["a/b"] = random((2, 3))
    assert_same(read_container(tmp_path / "x").tree, {"a/b": torch.from_numpy(random((2, 3)))})
