"""Keras's weights in shards, and in NumPy arrays inside `.keras`: files that lie, and files far away."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.storage.prefetching import prefetched
from torchgraft.storage.remote_file import RemoteFile

FIRST, SECOND = "x_00000.weights.h5", "x_00001.weights.h5"


def shard(path: Path, layers: dict[str, dict[str, Any]]) -> None:
    with h5py.File(path, "w") as file:
        for layer, variables in layers.items():
            group = file.create_group(f"layers/{layer}/vars")
            for number, values in variables.items():
                group[number] = values


def two_shards(folder: Path, **weight_map: Any) -> Path:
    """`dense` in the first, `dense_1` in both."""
    folder.mkdir()
    shard(
        folder / FIRST, {"dense": {"0": np.ones((2, 3)), "1": np.zeros(3)}, "dense_1": {"0": np.ones((3, 4))}}
    )
    shard(folder / SECOND, {"dense_1": {"1": np.arange(4.0)}})
    places = {"/layers/dense/vars": FIRST, "/layers/dense_1/vars": [FIRST, SECOND], **weight_map}
    (folder / "x.weights.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return folder


def test_a_layer_in_two_shards(tmp_path: Path) -> None:
    tree: Any = read_container(two_shards(tmp_path / "x")).tree
    assert {name: ref.shape for name, ref in tree.items()} == {
        "dense/kernel": (2, 3),
        "dense/bias": (3,),
        "dense_1/kernel": (3, 4),
        "dense_1/bias": (4,),
    }
    assert tree["dense_1/bias"].read().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("places", "kind", "message"),
    [
        (
            {"/layers/c/vars": "x_00002.weights.h5"},
            CorruptCheckpointError,
            r"missing file: x_00002\.weights\.h5",
        ),
        ({"/layers/c/vars": SECOND}, CorruptCheckpointError, rf"/layers/c/vars is not in {SECOND}"),
        ({"/layers/dense_1/vars": [FIRST]}, CorruptCheckpointError, ""),
        (
            {"/layers/dense/vars": SECOND},
            CorruptCheckpointError,
            r"/layers/dense/vars is in x_00000.*does not say",
        ),
        ({"/layers/dense/vars": 3}, CorruptCheckpointError, r"names no file for this group"),
        ({"/layers/dense/vars": []}, CorruptCheckpointError, r"names no file for this group"),
        ({"/layers/dense/vars": [3]}, CorruptCheckpointError, r"names no file for this group"),
        ({"/layers/dense/vars": "../x_00000.weights.h5"}, UnsafeCheckpointError, r"leads out of the folder"),
        ({"/layers/dense/vars": "/etc/x.weights.h5"}, UnsafeCheckpointError, r"leads out of the folder"),
        (
            {"/layers/dense/vars": "x.weights.json"},
            CorruptCheckpointError,
            r"x\.weights\.json: .*no HDF5 file",
        ),
    ],
)
def test_an_index_that_lies(places: Any, kind: type[CheckpointError], message: str, tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "x", **places)
    if places == {"/layers/dense_1/vars": [FIRST]}:
        tree: Any = read_container(
            folder / "x.weights.json"
        ).tree  # the second file is not named at all, and so not opened
        assert "dense_1/bias" not in tree
        return
    with pytest.raises(kind, match=message) as caught:
        read_container(folder / "x.weights.json")
    assert str(folder) in str(caught.value)


def test_a_variable_in_two_shards(tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "x")
    shard(folder / SECOND, {"dense_1": {"0": np.zeros((3, 4))}})
    with pytest.raises(
        CorruptCheckpointError, match=rf"{SECOND}: /layers/dense_1/vars/0: .*another shard too"
    ):
        read_container(folder)


def test_an_index_of_no_group(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.json"
    path.write_text(json.dumps({"weight_map": [], "a": 'x.weights.h5"'}) + ' ".weights.h5"')
    with pytest.raises(CheckpointError, match="x"):
        read_container(path)


def object_array(value: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(value, dtype=object), allow_pickle=True)
    return buffer.getvalue()


def arrays(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.npz", inner.getvalue())
    return path


VALUES = {"0": np.arange(30_000, dtype=np.float32).reshape(300, 100), "1": np.ones(100, np.float32)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_as_they_are(method: int, tmp_path: Path) -> None:
    entries = {"__root__.npy": object_array({}), "layers/dense.npy": object_array(VALUES)}
    tree: Any = read_container(arrays(tmp_path / "x", entries, method)).tree
    weights = tree["model_weights"]
    assert {name: ref.layout for name, ref in weights.items()} == {"dense/kernel": "IO", "dense/bias": ""}
    assert torch.equal(weights["dense/kernel"].read(), torch.from_numpy(VALUES["0"]))
    assert torch.equal(weights["dense/kernel"][7:9], torch.from_numpy(VALUES["0"][7:9]))


class Touch:
    """Its pickle would write a file, were it run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, object]:
        return Path.touch, (self.path,)


def test_nothing_in_them_is_run(tmp_path: Path) -> None:
    entries = {"layers/dense.npy": object_array({**VALUES, "2": Touch(tmp_path / "canary")})}
    tree: Any = read_container(arrays(tmp_path / "x", entries)).tree
    assert tree["model_weights"]["dense/vars/2"] == "a value that is no tensor"
    assert not (tmp_path / "canary").exists()


def plain_array(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"layers/dense": object_array(VALUES)}, "no layer's entry"),
        ({"layers//dense.npy": object_array(VALUES)}, "no layer's entry"),
        ({"layers/vars/x.npy": object_array(VALUES)}, "no layer's entry"),
        ({"a/" * 120 + "b.npy": object_array(VALUES)}, "no layer's entry"),
        ({"a.npy": plain_array(VALUES["0"])}, "not an array of one object"),
        ({"a.npy": object_array([1, 2])}, "not an array of one object"),
        ({"a.npy": object_array(3)}, "not a dict of variables"),
        ({"a.npy": object_array({3: VALUES["0"]})}, "not a dict of variables"),
        ({"a.npy": object_array({"../x": VALUES["0"]})}, "not a dict of variables"),
        ({"a.npy": object_array(VALUES)[:-1]}, "breaks off|damaged"),
        ({"a.npy": object_array(VALUES) + b"x"}, "not a dict of variables"),
        ({"a.npy": b"x" * 200}, "no NumPy array"),
        ({"a.npy": object_array(VALUES)[:60]}, "header can't be read"),
    ],
)
def test_arrays_that_keras_does_not_write(entries: dict[str, bytes], message: str, tmp_path: Path) -> None:
    path = arrays(tmp_path / "x", entries)
    with pytest.raises(CorruptCheckpointError, match=message) as caught:
        read_container(path)
    assert f"{path}: model.weights.npz: {next(iter(entries))[:200]}" in str(caught.value)


def test_an_array_that_inflates_to_far_more(tmp_path: Path) -> None:
    entries = {"a.npy": object_array({"0": np.zeros(20 << 20, np.float32)})}
    path = arrays(tmp_path / "x", entries, zipfile.ZIP_DEFLATED)
    with pytest.raises(UnsafeCheckpointError, match="would inflate"):
        read_container(path)


class Ranges:
    """A remote file of these bytes; notes what it is asked for."""

    name = "far://file"

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.asked: list[int] = []

    def read_into(self, offset: int, into: memoryview) -> None:
        self.asked.append(len(into))
        into[:] = self.content[offset : offset + len(into)]

    def check(self) -> None:
        pass


def in_h5(path: Path) -> None:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for number in range(12):
            own = file.create_group(f"layers/dense_{number}/vars")
            own["0"] = VALUES["0"] + number
            own.create_dataset("1", data=VALUES["0"], chunks=(50, 100), compression="gzip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".h5"), "model.weights.h5")


def in_arrays(path: Path) -> None:
    entries = {
        f"layers/dense_{number}.npy": object_array({"0": VALUES["0"] + number, "1": VALUES["0"]})
        for number in range(12)
    }
    arrays(path, entries)


def in_pickles(path: Path) -> None:
    class Inner:
        """A tensor that is pickled as `pickle.dumps` does it: a file of torch.save in the pickle."""

        def __init__(self, number: int) -> None:
            buffer = io.BytesIO()
            torch.save(torch.from_numpy(VALUES["0"] + number), buffer)
            self.content = buffer.getvalue()

        def __reduce__(self) -> tuple[object, object]:
            return torch.storage._load_from_bytes, (self.content,)

    path.write_bytes(pickle.dumps({f"w{number}": Inner(number) for number in range(12)}, 4))


@pytest.mark.parametrize("write", [in_h5, in_arrays, in_pickles])
def test_files_in_files_far_away_come_in_few_requests(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "x")
    local, ranges = read_container(tmp_path / "x").tree, Ranges((tmp_path / "x").read_bytes())
    far = read_container(RemoteFile(ranges)).tree
    local, far = (tree.get("model_weights", tree) for tree in (local, far))  # type: ignore[union-attr]
    assert list(local) == list(far)
    assert all(ref.spans() for ref in far.values())
    ranges.asked.clear()
    with prefetched(span for ref in far.values() for span in ref.spans()):
        opened = len(ranges.asked)
        for name, ref in far.items():
            assert torch.equal(ref.read(), local[name].read())
    assert len(ranges.asked) == opened <= 2
    assert sum(ranges.asked) <= 1.05 * ranges.size
    ranges.asked.clear()
    name = next(iter(far))
    assert torch.equal(far[name][5], local[name][5])
    assert sum(ranges.asked) <= 2 * 65_536
