"""Keras 3's `.keras`: a zip archive of the weights in HDF5 and the model's configuration in JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.archives.zip_directory import Entry
from torchgraft.formats.container import Container, ZipFormat
from torchgraft.formats.hdf5 import read_hdf5
from torchgraft.formats.keras.config import KerasConfig, read_config
from torchgraft.formats.keras.h5 import keras3_tree
from torchgraft.formats.strict_json import read_json_table
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.memory import MemoryFile
from torchgraft.storage.part import FilePart

__all__ = ["KERAS_ZIP"]

_WEIGHTS, _CONFIG, _METADATA = "model.weights.h5", "config.json", "metadata.json"
_MAX_METADATA = 1 << 16
_MAX_JSON = 1 << 23
_HONEST_RATIO = 64
_FREELY_INFLATED = 1 << 26
"""Weights hardly compress: what inflates more than 64-fold is nearly all zeros. Up to 64 MiB it may."""


def _recognise(names: Collection[str]) -> bool:
    return _WEIGHTS in names


def _read(file: ByteFile, entries: Mapping[str, Entry]) -> Container:
    root = read_hdf5(_open(file, entries[_WEIGHTS], _FREELY_INFLATED))
    config = read_config(_open(file, entries[_CONFIG], _MAX_JSON)) if _CONFIG in entries else KerasConfig()
    about = (
        read_json_table(_open(file, entries[_METADATA], _MAX_METADATA), max_bytes=_MAX_METADATA)
        if _METADATA in entries
        else {}
    )
    weights = keras3_tree(root, config)
    tree: dict[str, object] = weights if "optimizer" in root.members else {"model_weights": weights}
    if config.summary:
        tree["model_config"] = config.summary
    metadata = {key: value for key, value in about.items() if isinstance(value, str)}
    return Container(file.name, file.path, "keras", tree, metadata)


def _open(file: ByteFile, entry: Entry, freely: int) -> ByteFile:
    """An entry as a file: a part of the archive where it is stored as it is, else inflated."""
    if not entry.deflated:
        if entry.verify:
            entry.part(0, 0)  # holds the whole entry against its checksum
        return FilePart(file, entry.offset, entry.size, entry.name)
    name = f"{file.name}: {entry.name}"
    if entry.size > max(freely, _HONEST_RATIO * entry.stored):
        raise UnsafeCheckpointError(
            f"it would inflate {entry.stored} bytes to {entry.size}",
            where=name,
            hint="if it is what you expect, unzip it and open the file",
        )
    return MemoryFile(name, entry.view())


KERAS_ZIP = ZipFormat("keras", _recognise, _read)
