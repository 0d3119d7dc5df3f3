"""Pickles without a frame: NumPy's arrays in every protocol, and tensors as `pickle.dumps` writes them."""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchgraft as tg
from torchgraft.errors import (
    CheckpointError,
    CorruptCheckpointError,
    UnknownFormatError,
    UnsafeCheckpointError,
)
from torchgraft.formats import Placeholder, read_container
from torchgraft.formats.torch.plain_pickle import PLAIN_PICKLE
from torchgraft.storage.local import MappedFile
from torchgraft.tensors import TensorRef

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8", "c16"]


def arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    base = generator.normal(size=(3, 4)) * 50
    made = {dtype: base.astype(dtype) for dtype in DTYPES}
    return made | {
        f">{dtype}": array.astype(array.dtype.newbyteorder(">")) for dtype, array in made.items()
    } | {
        "fortran": np.asfortranarray(base),
        "large": generator.normal(size=(100, 90)).astype("f4"),
        "large fortran": np.asfortranarray(generator.normal(size=(100, 90))),
        "large >": generator.normal(size=(100, 90)).astype(">f4"),
        "scalar": np.array(2.5),
        "empty": np.empty((0, 3), "f4"),
    }  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_read_as_by_pickle(protocol: int, tmp_path: Path) -> None:
    made = OrderedDict(arrays())
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": made, "__author__": "me", "n": np.float32(2)}, protocol))
    container = read_container(path)
    assert container.format == "pickle"
    tree: Any = container.tree
    assert (tree["__author__"], tree["n"]) == ("me", 2)
    assert list(tree["model"]) == list(made)
    for name, array in made.items():
        ref = tree["model"][name]
        native = array.astype(array.dtype.newbyteorder("="))
        assert ref.shape == array.shape
        assert ref.read().numpy().dtype == native.dtype
        assert np.array_equal(ref.read().numpy(), native), name
        if array.shape and array.shape[0]:
            assert np.array_equal(ref[1:].numpy(), native[1:]), name
    assert tg.open(path).part == "model"


def test_arrays_of_jax_dtypes(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    made = {
        name: np.arange(6).astype(getattr(ml_dtypes, name)).reshape(2, 3)
        for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")
    }
    (tmp_path / "x").write_bytes(pickle.dumps(made))
    tree: Any = read_container(tmp_path / "x").tree
    for name, array in made.items():
        assert tree[name].dtype == name
        assert tree[name].read().float().tolist() == array.astype("f4").tolist()


def python2(arrays: dict[str, np.ndarray]) -> bytes:
    """A dict of arrays as Python 2 pickled it with protocol 2: one type for text and bytes."""

    def text(raw: bytes) -> bytes:
        return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<I", len(raw)) + raw

    items = b""
    for name, array in arrays.items():
        shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in array.shape) + b"t"
        dtype = (
            b"cnumpy\ndtype\n" + text(array.dtype.str[1:].encode()) + b"K\x00K\x01\x87R("
            b"K\x03" + text(array.dtype.str[:1].encode()) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        items += (
            text(name.encode())
            + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
            + b"(K\x01" + shape + dtype + b"\x89" + text(array.tobytes()) + b"tb"
        )  # fmt: skip
    return b"\x80\x02}(" + items + b"u."


@pytest.mark.filterwarnings("ignore:dtype.*align should be passed:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*align.*")
def test_pickles_of_python_2(tmp_path: Path) -> None:
    """Their bytes may happen to be UTF-8, or Latin-1, or neither."""
    made = {
        "ascii": np.frombuffer(b"abcdefgh", "u1"),
        "utf-8": np.frombuffer("éüß€".encode(), "u1"),
        "latin-1": np.array([0xE9, 0xFC], "u1"),
        "all": np.arange(256, dtype="u1"),
        "floats": np.random.default_rng(0).normal(size=(40, 30)).astype("f4"),
        "big": np.random.default_rng(0).normal(size=(2, 3)).astype(">f4"),
    }
    content = python2(made)
    theirs = pickle.loads(content, encoding="latin1")
    (tmp_path / "x").write_bytes(content)
    tree: Any = read_container(tmp_path / "x").tree
    assert list(tree) == list(theirs) == list(made)
    for name, array in theirs.items():
        assert np.array_equal(tree[name].read().numpy(), array.astype(array.dtype.newbyteorder("="))), name


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_what_no_tensor_can_hold_is_not_taken_for_numbers(protocol: int, tmp_path: Path) -> None:
    made = {
        "objects": np.array([1, "x", None], dtype=object),
        "records": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
        "texts": np.array(["a", "bc"]),
        "bytes": np.array([b"a", b"bc"]),
        "dates": np.array(["2020-01-01"], "M8[D]"),
        "fine": np.ones((2, 2)),
    }
    (tmp_path / "x").write_bytes(pickle.dumps(made, protocol))
    tree: Any = read_container(tmp_path / "x").tree
    for name in ("objects", "records", "texts", "bytes", "dates"):
        assert isinstance(tree[name], Placeholder)
        assert tree[name].class_name == "numpy.ndarray"
        assert tree[name].args == (f"an array of {name}, which no tensor can hold",)
    checkpoint = tg.open(tmp_path / "x")
    assert list(checkpoint) == ["fine"]
    assert "objects, which no tensor can hold" in str(checkpoint.metadata["objects"])


class Counting:
    """A file that counts the bytes that are asked of it."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        self.name, self.path, self.size = self._file.name, self._file.path, self._file.size
        self.data = self
        self.read = 0
        self.viewed = 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: Any) -> Any:
        part = self._file.data[place]
        self.read += len(part) if isinstance(part, bytes) else 1
        return part

    def find(self, needle: bytes, start: int) -> int:
        return self._file.data.find(needle, start)

    def view(self, offset: int, length: int) -> memoryview:
        self.viewed += length
        return self._file.view(offset, length)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_stay_in_the_file_until_they_are_read(protocol: int, tmp_path: Path) -> None:
    made = {name: np.full((256, 1024), value, "f4") for value, name in enumerate("ab")}
    (tmp_path / "x").write_bytes(pickle.dumps(made, protocol))
    file = Counting(tmp_path / "x")
    tree: Any = PLAIN_PICKLE.read(file).tree
    assert file.read < 2000
    assert file.viewed == 0
    assert tree["b"][3].tolist() == [1.0] * 1024
    assert file.viewed == made["b"].nbytes  # looked at, not copied


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tensors_that_pickle_wrote(
    protocol: int, tmp_path: Path, assert_same: Callable[[object, object], None]
) -> None:
    """Each storage is a file of `torch.save` of its own inside the pickle."""
    tied = torch.randn(3, 4)
    made = {
        "a": tied,
        "t": tied.t(),
        "large": torch.randn(100, 100),
        "b": torch.arange(5),
        "h": torch.randn(3).bfloat16(),
        "p": torch.nn.Parameter(torch.ones(2)),
        "list": [tied, 1],
    }
    (tmp_path / "x").write_bytes(pickle.dumps(made, protocol))
    container = read_container(tmp_path / "x")
    assert_same(container.tree, pickle.loads((tmp_path / "x").read_bytes()))
    tree: Any = container.tree
    assert len({tree[name].alias for name in "atb"}) == 3
    assert tree["a"].alias == tree["list"][0].alias


def nested(depth: int) -> bytes:
    """A storage in a file in a storage's place in a file …"""
    from torch.storage import _load_from_bytes

    class Inner:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def __reduce__(self) -> tuple[object, object]:
            return _load_from_bytes, (self.data,)

    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2, 2)}, buffer, _use_new_zipfile_serialization=False)
    for level in range(depth):
        outer = io.BytesIO()
        tree = {"inner": Inner(buffer.getvalue())}
        torch.save(tree, outer, _use_new_zipfile_serialization=level % 2 == 0)
        buffer = outer
    return pickle.dumps({"inner": Inner(buffer.getvalue())})


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, 9])
def test_nesting_is_limited(depth: int, tmp_path: Path, walk: Callable[[object], Iterator[object]]) -> None:
    (tmp_path / "x").write_bytes(nested(depth))
    if depth < 4:
        (ref,) = [node for node in walk(read_container(tmp_path / "x").tree) if isinstance(node, TensorRef)]
        assert ref.read().tolist() == [[1, 1], [1, 1]]
    else:
        with pytest.raises(UnsafeCheckpointError, match=r"x.*nested 5 deep"):
            read_container(tmp_path / "x")


def test_a_nested_file_that_is_read_over_and_over_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save([0] * 50_000, buffer, _use_new_zipfile_serialization=False)
    blob = b"B" + struct.pack("<I", len(buffer.getvalue())) + buffer.getvalue() + b"q\x00"
    calls = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R0" * 1000
    (tmp_path / "x").write_bytes(b"\x80\x03" + blob + calls + b".")
    with pytest.raises(UnsafeCheckpointError, match="over and over"):
        read_container(tmp_path / "x")


@pytest.mark.parametrize("inner", [b"", b"x" * 10, pickle.dumps(1), b"PK\x03\x04" + bytes(50), b"x" * 9000])
def test_nested_files_that_are_none_are_refused(inner: bytes, tmp_path: Path) -> None:
    blob = b"B" + struct.pack("<I", len(inner)) + inner
    (tmp_path / "x").write_bytes(b"\x80\x03ctorch.storage\n_load_from_bytes\n" + blob + b"\x85R.")
    with pytest.raises(CheckpointError, match=str(tmp_path / "x")):
        read_container(tmp_path / "x")


def test_bytes_after_the_pickle_are_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps({"a": np.ones(2)}) + pickle.dumps(2))
    with pytest.raises(CorruptCheckpointError, match="5 bytes follow its pickle"):
        read_container(tmp_path / "x")


@pytest.mark.parametrize("protocol", range(6))
def test_truncation_is_always_refused(protocol: int, tmp_path: Path) -> None:
    whole = pickle.dumps({"a": np.ones((40, 40), "f4"), "b": [np.float64(1)]}, protocol)
    for keep in [*range(2, 400), *range(400, len(whole), 997), len(whole) - 1]:
        (tmp_path / "x").write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match=str(tmp_path / "x")):
            read_container(tmp_path / "x")


@pytest.mark.parametrize(
    "text", [b"(dp or not)\n", b"cat\nand dog\n", b"]r", b"c\n\n", b"}", b"(l", b"print(1)\n"]
)
def test_texts_are_not_taken_for_pickles(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(text * 20)
    with pytest.raises(UnknownFormatError):
        read_container(tmp_path / "x")


def test_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    whole = pickle.dumps({"a": np.ones((40, 40), "f4")}, 3)
    shape = b"K(K(\x86"
    assert whole.count(shape) == 1
    for other in (b"K)K(\x86", b"K\x00K(\x86", b"K(N\x86"):
        (tmp_path / "x").write_bytes(whole.replace(shape, other))
        try:
            tree: Any = read_container(tmp_path / "x").tree
        except CorruptCheckpointError as error:
            assert "x" in str(error)  # noqa: PT017
        else:
            assert isinstance(tree["a"], Placeholder)


def test_opening_needs_no_torch_and_no_numpy(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "x").write_bytes(
        pickle.dumps({"a": np.ones((40, 40)), "t": torch.ones(3), "q": np.float64(1)})
    )
    code = (
        "import sys; from torchgraft.formats import read_container; "
        "read_container(sys.argv[1]); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
