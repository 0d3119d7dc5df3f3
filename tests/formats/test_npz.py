"""Archives of NumPy arrays: Flax's names and layouts, compression, and entries that lie."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.archives.zip_directory import Entry
from torchgraft.formats.numpy import npz
from torchgraft.tensors import TensorRef

FLAX = {
    "params/conv/kernel": np.arange(54, dtype=np.float32).reshape(3, 3, 2, 3),
    "params/conv/bias": np.arange(3, dtype=np.float32),
    "params/Dense_0/kernel": np.arange(6, dtype=np.float16).reshape(2, 3),
    "params/attention/query/kernel": np.ones((4, 2, 2), np.float32),
    "params/norm/scale": np.ones(3, np.float32),
    "params/embed/embedding": np.ones((5, 4), np.float32),
    "step": np.int64(7),
}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def archive(path: Path, *, compress: bool = False, **entries: bytes) -> Path:
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return path


def tree_of(path: Path) -> dict[str, Any]:
    container = read_container(path)
    assert container.format == "npz"
    assert isinstance(container.tree, dict)
    return container.tree


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flax_names_and_values(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "x.npz", **FLAX)
    tree = tree_of(tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as theirs:
        assert list(tree) == list(theirs)
        for name, array in theirs.items():
            assert tree[name].name == name
            assert tree[name].read().numpy().tobytes() == array.tobytes()
            assert (tree[name].shape, tree[name].dtype) == (array.shape, str(array.dtype))
    opened = tg.open(tmp_path / "x.npz")
    assert (opened.part, list(opened)) == ("", list(FLAX))


def test_a_real_archive() -> None:
    path = Path(pytest.importorskip("scipy").__path__[0]) / "special/tests/data/boost.npz"
    if not path.is_file():
        pytest.skip("this scipy ships no tests")
    with np.load(path) as theirs:
        tree = tree_of(path)
        assert list(tree) == list(theirs)
        assert len(tree) > 50
        for name, array in theirs.items():
            assert tree[name].read().numpy().tobytes() == array.tobytes()


def test_layouts_are_marked_where_the_names_are_flax(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **FLAX)
    layouts = {name: ref.layout for name, ref in tree_of(tmp_path / "x.npz").items() if ref.layout}
    assert layouts == {"params/conv/kernel": "HWIO", "params/Dense_0/kernel": "IO"}


@pytest.mark.parametrize(
    "names",
    [["kernel"], ["a/kernel", "b/weight"], ["a/weight"], ["a.kernel"], ["a/kernels"]],
    ids=lambda names: " and ".join(names),
)
def test_other_names_say_nothing_of_layouts(names: list[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{name: np.ones((2, 3), np.float32) for name in names})
    assert not any(ref.layout for ref in tree_of(tmp_path / "x.npz").values())


def test_texts_are_plain_data(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz",
        w=np.ones(2, np.float32),
        classes=np.array(["cat", "dög"]),
        big=np.array(["ab"], ">U2"),
        format=np.array(b"csr"),
        many=np.full(10_000, "long text"),
        none=np.array([], "U5"),
        date=np.zeros(3, "M8[s]"),
    )
    tree = tree_of(tmp_path / "x.npz")
    assert isinstance(tree.pop("w"), TensorRef)
    assert tree == {
        "classes": ["cat", "dög"],
        "big": ["ab"],
        "format": "csr",
        "many": "texts (<U9) of shape [10000]",
        "none": "texts (<U5) of shape [0]",
        "date": "dates or times (<M8[s]) of shape [3]",
    }
    assert tg.open(tmp_path / "x.npz").metadata["classes"] == ["cat", "dög"]


def test_entries_that_are_no_arrays_are_told(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", **{"a.npy": npy(np.ones(2)), "note.txt": b"hello"})
    assert tree_of(path)["note.txt"] == "5 bytes, not an array"


class Touch:
    """Pickles to a call that makes a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array({"lr": 0.1}, object), "pickle"),
        (np.zeros(2, [("a", "<f4")]), "records"),
        (np.zeros(2, "V2"), "bfloat16"),
    ],
    ids=["a config as an object", "structured", "two bytes of what"],
)
def test_what_may_hold_weights_is_refused_by_name(array: Any, message: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", **{"w.npy": npy(np.ones(2)), "bad.npy": npy(array)})
    with pytest.raises(CheckpointError, match=message) as caught:
        read_container(path)
    assert caught.value.where == f"{path}: bad.npy"
    assert caught.value.hint


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = archive(tmp_path / "x.npz", compress=True, **{"a.npy": npy(np.array(Touch(canary), object))})
    with pytest.raises(UnsafeCheckpointError, match="pickle"):
        read_container(path)
    assert not canary.exists()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:100],
        lambda data: data[:8],
        lambda data: b"",
        lambda data: b"x" + data,
        lambda data: data.replace(b"(6,)", b"(7,)"),
        lambda data: data.replace(b"(6,)", b"(0,)"),
    ],
    ids=["short", "long", "half a header", "no header", "empty", "no magic", "larger", "smaller"],
)
def test_damaged_entries_are_refused_by_name(damage: Any, compress: bool, tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", compress=compress, **{"a.npy": damage(npy(np.arange(6.0)))})
    with pytest.raises(CorruptCheckpointError) as caught:
        read_container(path)
    assert caught.value.where == f"{path}: a.npy"


def test_one_name_for_two_entries_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", **{"a.npy": npy(np.ones(2)), "a": b"x"})
    with pytest.raises(CorruptCheckpointError, match="another entry"):
        read_container(path)


def test_torch_archives_with_arrays_beside_are_not_taken(tmp_path: Path) -> None:
    assert not npz.NPZ.recognise({"x/data.pkl": 1, "x/a.npy": 1})
    assert npz.NPZ.recognise({"a.npy": 1, "b.npy": 1})


def test_a_thousand_to_one_of_zeros_is_honest(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", zeros=np.zeros(16 << 20, np.uint8), w=np.ones(3, np.float32))
    assert (tmp_path / "x.npz").stat().st_size < 20_000
    tree = tree_of(tmp_path / "x.npz")
    assert not tree["zeros"].read().any()
    assert tree["zeros"].shape == (16 << 20,)


def test_a_bomb_is_refused_before_it_inflates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", zeros=np.zeros(1 << 20, np.uint8))
    monkeypatch.setattr(npz, "_MAX_ZEROS", 1 << 19)
    tree = tree_of(tmp_path / "x.npz")
    with pytest.raises(UnsafeCheckpointError, match="inflate") as caught:
        tree["zeros"].read()
    assert caught.value.where == f"{tmp_path / 'x.npz'}: zeros.npy"


def test_a_damaged_compressed_entry_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).random(3000))
    data = bytearray(path.read_bytes())
    data[12_000] ^= 255
    path.write_bytes(data)
    ref = tree_of(path)["a"]
    with pytest.raises(CorruptCheckpointError, match=r"a\.npy"):
        ref.read()


def test_opening_inflates_headers_only_and_slices_inflate_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).random((100, 100), np.float32)
    np.savez_compressed(tmp_path / "x.npz", a=values, b=values + 1)
    inflated: list[str] = []
    whole = Entry.view

    def view(self: Entry) -> memoryview:
        inflated.append(self.name)
        return whole(self)

    monkeypatch.setattr(Entry, "view", view)
    tree = tree_of(tmp_path / "x.npz")
    assert not inflated
    for row in range(5):
        assert torch.equal(tree["a"][row], torch.from_numpy(values[row]))
    assert inflated == ["a.npy"]
    assert torch.equal(tree["b"][7], torch.from_numpy(values[7] + 1))
    assert inflated == ["a.npy", "b.npy"]


def test_a_slice_of_a_stored_entry_reads_that_entry_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(1000), b=np.ones(1000))
    tree = tree_of(tmp_path / "x.npz")
    monkeypatch.setattr(Entry, "view", lambda self: pytest.fail("read whole"))
    assert tree["a"][:2].tolist() == [1.0, 1.0]


def test_a_header_in_a_block_of_rare_texts_is_found(tmp_path: Path) -> None:
    """Deflate may take 15 bits for each character of a header that the data around it has none of."""
    generator = np.random.default_rng(0)
    for size in (10, 1000, 100_000):
        np.savez_compressed(tmp_path / "x.npz", a=generator.geometric(0.3, size).astype(np.uint8))
        assert tree_of(tmp_path / "x.npz")["a"].shape == (size,)


def test_many_entries(tmp_path: Path) -> None:
    data = npy(np.float32(1))
    path = archive(tmp_path / "x.npz", **{f"layer/{n}.npy": data for n in range(3000)})
    assert len(tree_of(path)) == 3000


def test_an_archive_without_arrays_that_are_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["a"]))
    with pytest.raises(CheckpointError, match="no weights"):
        tg.open(tmp_path / "x.npz")


def test_a_length_that_the_directory_lies_about(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", compress=True, **{"a.npy": npy(np.arange(500.0))})
    data = bytearray(path.read_bytes())
    size = len(npy(np.arange(500.0)))
    for at in (data.index(b"PK\x03\x04") + 22, data.index(b"PK\x01\x02") + 24):
        assert struct.unpack_from("<I", data, at)[0] == size
        struct.pack_into("<I", data, at, size + 8)
    path.write_bytes(data)
    with pytest.raises(CorruptCheckpointError, match=r"a\.npy"):
        read_container(path)
    assert zlib.crc32(data)


def test_checksums_are_checked_when_values_are_read_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, good=np.arange(1000.0), bad=np.arange(1000.0))
    data = bytearray(path.read_bytes())
    data[data.index(b"bad.npy") + 2000] ^= 1
    path.write_bytes(data)
    tree = read_container(path, verify=True).tree
    assert isinstance(tree, dict)
    assert tree["good"][-1].item() == 999
    with pytest.raises(CorruptCheckpointError, match="checksum") as caught:
        tree["bad"][0]
    assert caught.value.where == f"{path}: bad.npy"
