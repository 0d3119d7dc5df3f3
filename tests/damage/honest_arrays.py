"""What NumPy, h5py and Keras write."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

import h5py
import numpy as np

from damage.honest import Honest, archive, one_file, packed

__all__ = ["ARRAYS"]


def _npy(version: tuple[int, int], array: Any) -> Honest:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return one_file(buffer.getvalue())


def _npz() -> bytes:
    buffer = io.BytesIO()
    arrays = {"params/w": np.arange(6, dtype="f4").reshape(2, 3), "params/b": np.ones(3, ">f8")}
    np.savez(buffer, **arrays, f=np.asfortranarray(np.ones((2, 2), "i2")), n=np.array(3))  # type: ignore[arg-type]
    return buffer.getvalue()


def _h5(write: Callable[[h5py.File], object], version: str = "earliest") -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=version) as file:
        write(file)
    return buffer.getvalue()


def _old_keras(file: h5py.File) -> None:
    layers = [
        {"class_name": "Conv2D", "config": {"name": "conv"}},
        {"class_name": "Dense", "config": {"name": "dense"}},
    ]
    file.attrs["keras_version"] = "2.9.0"
    file.attrs["model_config"] = json.dumps(
        {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    )
    root = file.create_group("model_weights")
    root.attrs["layer_names"] = np.array([b"conv", b"dense"])
    conv, dense = root.create_group("conv"), root.create_group("dense")
    conv.attrs["weight_names"] = ["conv/kernel:0", "conv/bias:0"]
    conv["conv/kernel:0"] = np.arange(24, dtype="f4").reshape(1, 1, 6, 4)
    conv["conv/bias:0"] = np.ones(4, "f4")
    dense.attrs["weight_names"] = np.array([b"dense/kernel:0"])
    dense["dense/kernel:0"] = np.arange(12, dtype="f2").reshape(4, 3)


def _new_keras(file: h5py.File) -> None:
    for layer, kernel in {"conv2d": (1, 1, 2, 3), "dense": (3, 2)}.items():
        own = file.create_group(f"layers/{layer}/vars")
        own["0"] = np.arange(6, dtype="f4").reshape(kernel)
        own["1"] = np.ones(kernel[-1], "f4")
    file.create_group("optimizer/vars")["0"] = np.int64(3)


def _packed(file: h5py.File) -> None:
    packed = {"chunks": (4, 3), "compression": "gzip", "shuffle": True, "fletcher32": True}
    file.create_dataset("group/packed", data=np.arange(24, dtype="f4").reshape(8, 3), **packed)
    # In the newest format the chunks of each are listed in another way.
    for name, most in {"edges": (5, 7), "rows": (None, 7), "endless": (None, None)}.items():
        array = np.arange(35, dtype="i2").reshape(5, 7)
        file.create_dataset(f"group/{name}", data=array, chunks=(2, 4), maxshape=most)
    file["plain"] = np.arange(3.0)
    file["half"] = np.ones((2, 2), "f2")
    file.create_dataset("compact", data=np.ones(2, "u1"), dcpl=_compact(), dtype="u1")
    for index in range(12):
        file[f"more/{index}"] = np.float32(index)


def _summed(file: h5py.File) -> None:
    """Everything in it has a checksum: the datasets, and in the newest format what describes them."""
    summed = {"chunks": (2, 3), "fletcher32": True}
    for index in range(10):  # 9 and more are listed in a heap and a tree
        file.create_dataset(f"group/array {index}", data=np.arange(24.0).reshape(4, 6) + index, **summed)
    file.create_dataset("packed", data=np.arange(24.0).reshape(4, 6), compression="gzip", **summed)


def _compact() -> Any:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_layout(h5py.h5d.COMPACT)
    return made


def _keras(method: int) -> Honest:
    layers = [
        {"class_name": "Conv2D", "config": {"name": "conv2d"}},
        {"class_name": "Dense", "config": {"name": "dense"}},
    ]
    parts = {
        "metadata.json": json.dumps({"keras_version": "3.5.0", "date_saved": "today"}).encode(),
        "config.json": json.dumps(
            {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
        ).encode(),
        "model.weights.h5": _h5(_new_keras),
    }
    return Honest(parts, partial(packed, method=method), checked=("x",))


def _keras_shards() -> Honest:
    """`dense` in the first file, `dense_1` in both."""
    names = [f"x_{number:05}.weights.h5" for number in range(2)]
    kept = [
        {"dense/vars/0": np.ones((2, 3), "f4"), "dense_1/vars/0": np.ones((3, 4), "f4")},
        {"dense_1/vars/1": np.arange(4, dtype="f4")},
    ]

    def write(arrays: dict[str, Any], file: h5py.File) -> None:
        for path, array in arrays.items():
            file[f"layers/{path}"] = array

    places = {"/layers/dense/vars": names[0], "/layers/dense_1/vars": names}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    files = {name: _h5(partial(write, arrays)) for name, arrays in zip(names, kept, strict=True)}
    return Honest({"x.weights.json": json.dumps(index).encode(), **files}, opens="x.weights.json")


ARRAYS: dict[str, Callable[[], Honest]] = {
    "npy 1": lambda: _npy((1, 0), np.arange(6, dtype="f4").reshape(2, 3)),
    "npy 2": lambda: _npy((2, 0), np.asfortranarray(np.arange(6, dtype=">i8").reshape(2, 3))),
    "npy 3": lambda: _npy((3, 0), np.ones((2, 1, 2), "c8")),
    "npz": lambda: archive(_npz()),
    "deflated npz": lambda: archive(_npz(), ZIP_DEFLATED),
    "Keras h5": lambda: one_file(_h5(_old_keras)),
    "Keras weights.h5": lambda: one_file(_h5(_new_keras, "latest")),
    "Keras shards": _keras_shards,
    "keras": lambda: _keras(ZIP_STORED),
    "deflated keras": lambda: _keras(ZIP_DEFLATED),
    "HDF5": lambda: one_file(_h5(_packed)),
    "newest HDF5": lambda: one_file(_h5(_packed, "latest")),
    "HDF5 with checksums": lambda: Honest({"x": _h5(_summed, "latest")}, checked=("x",)),
}
