"""`torch.save`'s format since PyTorch 1.6: a zip archive of a pickle and one entry for each storage."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Container, ZipFormat
from torchgraft.formats.pickles import read_pickle
from torchgraft.formats.pickles.persistent import StorageId, storage_id
from torchgraft.formats.stored_tensor import Storage
from torchgraft.formats.zip_directory import Entry
from torchgraft.storage.byte_file import ByteFile

__all__ = ["TORCH_ZIP"]

_MAX_INFLATED_PICKLE = 1 << 24
_HONEST_RATIO = 64  # pickles of tensors are repetitive, but not endlessly so


def _recognise(names: Collection[str]) -> bool:
    return any(_is_pickle(name) for name in names)


def _read(file: ByteFile, entries: Mapping[str, Entry]) -> Container:
    roots = [name.removesuffix("data.pkl") for name in entries if name.count("/") < 2 and _is_pickle(name)]
    if len(roots) != 1:
        raise CorruptCheckpointError(f"the archive has {len(roots)} data.pkl", where=file.name)
    root = roots[0]
    order = entries.get(f"{root}byteorder")
    if order is not None and bytes(order.view()[:16]).strip() != b"little":
        raise CorruptCheckpointError(
            "it was saved on a big-endian machine",
            where=file.name,
            hint="torch.load it with PyTorch, which swaps the bytes, and torch.save it again",
        )
    pickle = entries[f"{root}data.pkl"]
    if pickle.deflated and pickle.size > max(_MAX_INFLATED_PICKLE, _HONEST_RATIO * pickle.stored):
        raise UnsafeCheckpointError("its pickle inflates to far more than a pickle would", where=file.name)
    data = bytes(pickle.view())
    # 0: the writer was told not to compute it (torch.utils.serialization.config.save.compute_crc32).
    if pickle.crc and zlib.crc32(data) != pickle.crc:
        raise CorruptCheckpointError(
            "its pickle is not what its checksum says",
            where=file.name,
            hint="download or save it again",
        )
    storages = _Storages(entries, f"{root}data/")
    tree, _ = read_pickle(data, where=f"{file.name}: {pickle.name}", persistent=storages.find)
    return Container(file.name, file.path, "torch zip", tree)


def _is_pickle(name: str) -> bool:
    return name == "data.pkl" or name.endswith("/data.pkl")


class _Storages:
    """Looks up the storages that the pickle refers to."""

    def __init__(self, entries: Mapping[str, Entry], folder: str) -> None:
        self._entries = entries
        self._folder = folder
        self._known: dict[tuple[str, str], Storage] = {}

    def find(self, key: object) -> object:
        wanted = storage_id(key)
        if not isinstance(wanted, StorageId):
            return wanted
        entry = self._entries.get(self._folder + wanted.key)
        if entry is None:
            raise ValueError(f"storage {wanted.key[:100]!r} is not in the archive")
        if wanted.nbytes > entry.size:
            raise ValueError(f"storage {wanted.key[:100]!r} needs {wanted.nbytes} bytes and has {entry.size}")
        known = self._known.get((wanted.key, wanted.dtype))
        if known is None or known.nbytes != wanted.nbytes:
            where = f"{entry.file.name}: {entry.name}"
            known = Storage(where, wanted.key, wanted.dtype, wanted.nbytes, entry.view)
            self._known[wanted.key, wanted.dtype] = known
        return known


TORCH_ZIP = ZipFormat("torch zip", _recognise, _read)
