"""NumPy arrays: compared with what numpy.load gives, and headers that lie."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib import format as npy_format

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.numpy.npy import NPY
from torchgraft.formats.numpy.npy_header import read_header
from torchgraft.tensors import TensorRef

DTYPES = ["f8", "f4", "f2", "c16", "c8", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"]


def saved(path: Path, array: Any, version: tuple[int, int] | None = None) -> Path:
    with path.open("wb") as file:
        npy_format.write_array(file, np.asanyarray(array), version)
    return path


def by_hand(path: Path, header: str | bytes, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> Path:
    raw = header.encode("latin-1") if isinstance(header, str) else header
    length = struct.pack("<H" if version == (1, 0) else "<I", len(raw))
    path.write_bytes(b"\x93NUMPY" + bytes(version) + length + raw + body)
    return path


def assert_equal(ref: object, array: np.ndarray[Any, Any]) -> None:
    """Bit for bit, the whole and some slices."""
    assert isinstance(ref, TensorRef)
    native = array.astype(array.dtype.newbyteorder("="))
    assert (ref.shape, ref.dtype) == (array.shape, str(native.dtype))
    indices: list[Any] = [...]
    if array.ndim:
        indices += [slice(1, None), slice(0, 0), (..., slice(0, None, 2))]
    for index in indices:
        read = ref[index]
        assert read.numpy().shape == native[index].shape
        assert read.contiguous().numpy().tobytes() == native[index].tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_and_byte_order(code: str, order: str, tmp_path: Path) -> None:
    values = np.frombuffer(np.random.default_rng(0).bytes(24 * 16), np.uint8)[: 24 * int(code[1:])]
    array = (values & 1 if code == "b1" else values).view(f"{order}{code}").reshape(2, 3, 4)
    assert_equal(read_container(saved(tmp_path / "x.npy", array)).tree, array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "array",
    [
        np.float32(1.5),
        np.zeros((0, 3), np.float16),
        np.arange(24.0).reshape(2, 3, 4).T,
        np.asfortranarray(np.arange(12, dtype=">i4").reshape(3, 4)),
        np.arange(5, dtype=np.int64),
    ],
    ids=["0-d", "empty", "Fortran order", "Fortran order, big-endian", "1-d"],
)
def test_shapes_orders_and_versions(array: Any, version: tuple[int, int], tmp_path: Path) -> None:
    container = read_container(saved(tmp_path / "x.npy", array, version))
    assert container.format == "npy"
    assert_equal(container.tree, np.asarray(array))


def test_the_checkpoint_names_the_only_tensor(tmp_path: Path) -> None:
    opened = tg.open(saved(tmp_path / "x.npy", np.ones((2, 2), np.float32)))
    assert list(opened) == ["tensor"]
    assert opened["tensor"].read().tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }   \n",
        '{"shape":(2,1),"fortran_order":False,"descr":"<f4"}',
        "{'descr': '=f4', 'fortran_order': False, 'shape': (2, 1)}",
    ],
    ids=["Python 2", "another writer", "native order"],
)
def test_headers_of_other_writers(header: str, tmp_path: Path) -> None:
    tree = read_container(by_hand(tmp_path / "x", header, struct.pack("<2f", 1, 2))).tree
    assert isinstance(tree, TensorRef)
    assert tree.read().tolist() == [[1.0], [2.0]]


def test_bfloat16_when_the_header_says_so(tmp_path: Path) -> None:
    header = "{'descr': 'bfloat16', 'fortran_order': False, 'shape': (2,)}"
    tree = read_container(by_hand(tmp_path / "x", header, b"\x80\x3f\x00\x40")).tree
    assert isinstance(tree, TensorRef)
    assert tree.dtype == "bfloat16"
    assert tree.read().tolist() == [1.0, 2.0]


class Touch:
    """Pickles to a call that makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.canary),)


def test_objects_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    array = np.array([Touch(tmp_path / "canary")], dtype=object)
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(UnsafeCheckpointError, match="pickle") as caught:
        read_container(tmp_path / "x.npy")
    assert str(tmp_path / "x.npy") in str(caught.value)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(2, [("a", "<f4"), ("b", "<i2", (3,))]), "records"),
        (np.array(["a", "b"]), "no numbers"),
        (np.array([b"a", b"b"]), "no numbers"),
        (np.zeros(2, "M8[ns]"), "dates"),
        (np.zeros(2, "V2"), "bfloat16"),
        (np.zeros(2, np.longdouble), "dtype"),
    ],
    ids=["structured", "texts", "bytes", "dates", "two bytes of what", "long double"],
)
def test_what_is_no_tensor_is_refused_with_its_reason(array: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_container(saved(tmp_path / "x.npy", array))
    assert str(tmp_path / "x.npy") in str(caught.value)
    assert caught.value.hint


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param(GOOD, 7, id="a byte is missing"),
        pytest.param(GOOD, 9, id="a byte too many"),
        pytest.param(GOOD.replace("(2,)", "(-2,)"), 8, id="negative shape"),
        pytest.param(GOOD.replace("(2,)", "(2.0,)"), 8, id="fractional shape"),
        pytest.param(GOOD.replace("(2,)", "(True, 2)"), 8, id="truth value as shape"),
        pytest.param(GOOD.replace("(2,)", "(2)"), 8, id="a number as shape"),
        pytest.param(GOOD.replace("(2,)", "[2]"), 8, id="a list as shape"),
        pytest.param(GOOD.replace("(2,)", "(" + "1," * 65 + "2)"), 8, id="66 dimensions"),
        pytest.param(GOOD.replace("(2,)", f"({2**62}, {2**62})"), 8, id="huge shape"),
        pytest.param(GOOD.replace("(2,)", f"(0, {2**62}, {2**62})"), 0, id="huge and empty"),
        pytest.param(GOOD.replace("(2,)", "(" + "9" * 5000 + ",)"), 8, id="5000 digits"),
        pytest.param(GOOD.replace("(2,)", "(" * 20_000), 8, id="deep"),
        pytest.param(GOOD.replace("False", "0"), 8, id="order is a number"),
        pytest.param(GOOD.replace("False", "None"), 8, id="order is None"),
        pytest.param(GOOD.replace("False", "open('x')"), 8, id="a call"),
        pytest.param(GOOD.replace("'<f4'", "'<f3'"), 8, id="no such width"),
        pytest.param(GOOD.replace("'<f4'", "'f4; x'"), 8, id="no dtype"),
        pytest.param(GOOD.replace("'<f4'", "3"), 8, id="dtype a number"),
        pytest.param(GOOD.replace("'<f4'", "'" + "x" * 10_000 + "'"), 8, id="a long dtype"),
        pytest.param(GOOD.replace("}", ", 'x': 1}"), 8, id="a key too many"),
        pytest.param(GOOD.replace("}", ", 'shape': (2,)}"), 8, id="a key twice"),
        pytest.param(GOOD + "}", 8, id="something after it"),
        pytest.param(GOOD[:-1], 8, id="no end"),
        pytest.param(GOOD.replace(",", ""), 8, id="no commas"),
        pytest.param("-" * 60_000, 8, id="minus signs"),
        pytest.param("", 8, id="no header"),
        pytest.param("(2,)", 8, id="no dict"),
    ],
)
def test_lies_are_refused(header: str, body: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_container(by_hand(tmp_path / "x", header, bytes(body)))
    assert str(tmp_path / "x") in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("version", [(0, 0), (1, 1), (4, 0), (255, 255)])
def test_unknown_versions_are_refused(version: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpointError, match="version"):
        read_container(by_hand(tmp_path / "x", GOOD, bytes(8), version))


def test_a_header_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpointError, match="header"):
        read_container(by_hand(tmp_path / "x", b"{'descr': '\xff'}", b"", (3, 0)))


@pytest.mark.parametrize("length", [1 << 16 | 1, 1 << 31])
def test_a_long_header_is_refused_before_it_is_read(length: int, tmp_path: Path) -> None:
    wanted: list[int] = []

    def read(count: int) -> bytes:
        wanted.append(count)
        return (b"\x93NUMPY\x02\x00" + struct.pack("<I", length))[:count]

    with pytest.raises(CorruptCheckpointError, match="limit"):
        read_header(read, "x")
    assert max(wanted) <= 12


def test_truncation_is_always_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6, dtype=np.float32))
    whole = buffer.getvalue()
    path = tmp_path / "x"
    for keep in range(6, len(whole)):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match=str(path)):
            read_container(path)


class Counted:
    """A file that counts which bytes are viewed."""

    path = None

    def __init__(self, data: bytes) -> None:
        self.name, self.size, self.data = "counted", len(data), data
        self.viewed: list[tuple[int, int]] = []

    def view(self, offset: int, length: int) -> memoryview:
        assert 0 <= offset <= offset + length <= self.size
        self.viewed.append((offset, length))
        return memoryview(bytearray(self.data[offset : offset + length]))


def test_opening_reads_no_values() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(1000, dtype=np.float32))
    file = Counted(buffer.getvalue())
    tree = NPY.read(file).tree
    assert not file.viewed
    assert isinstance(tree, TensorRef)
    assert torch.equal(tree[3:5], torch.tensor([3.0, 4.0]))
    assert file.viewed == [(128, 4000)]


def test_opening_needs_no_pytorch(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", np.arange(5.0))
    code = (
        "import sys; from torchgraft.formats import read_container; "
        f"read_container({str(path)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
