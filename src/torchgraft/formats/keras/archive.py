"""Keras 3's `.keras`: a zip archive of weights, in HDF5 or NumPy's format, and the model's configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torchgraft.formats.archives.zip_directory import Entry
from torchgraft.formats.container import Container, ZipFormat
from torchgraft.formats.hdf5 import read_hdf5
from torchgraft.formats.keras.arrays import read_arrays
from torchgraft.formats.keras.config import KerasConfig, read_config
from torchgraft.formats.keras.entry_file import FREELY_INFLATED, entry_file
from torchgraft.formats.keras.h5 import keras3_tree
from torchgraft.formats.strict_json import read_json_table
from torchgraft.storage.byte_file import ByteFile

__all__ = ["KERAS_ZIP"]

_WEIGHTS, _ARRAYS = "model.weights.h5", "model.weights.npz"
_CONFIG, _METADATA = "config.json", "metadata.json"
_MAX_METADATA = 1 << 16
_MAX_JSON = 1 << 23


def _recognise(names: Collection[str]) -> bool:
    return _WEIGHTS in names or _ARRAYS in names


def _read(file: ByteFile, entries: Mapping[str, Entry]) -> Container:
    if _WEIGHTS in entries:
        root = read_hdf5(entry_file(file, entries[_WEIGHTS], FREELY_INFLATED))
    else:
        root = read_arrays(entry_file(file, entries[_ARRAYS], FREELY_INFLATED))
    config = (
        read_config(entry_file(file, entries[_CONFIG], _MAX_JSON)) if _CONFIG in entries else KerasConfig()
    )
    about = (
        read_json_table(entry_file(file, entries[_METADATA], _MAX_METADATA), max_bytes=_MAX_METADATA)
        if _METADATA in entries
        else {}
    )
    weights = keras3_tree(root, config)
    tree: dict[str, object] = weights if "optimizer" in root.members else {"model_weights": weights}
    if config.summary:
        tree["model_config"] = config.summary
    metadata = {key: value for key, value in about.items() if isinstance(value, str)}
    return Container(file.name, file.path, "keras", tree, metadata)


KERAS_ZIP = ZipFormat("keras", _recognise, _read)
