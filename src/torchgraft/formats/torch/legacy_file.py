"""`torch.save`'s format before PyTorch 1.6: five pickles one after another, then the storages' bytes."""

from __future__ import annotations

import functools
import mmap
from collections.abc import Sequence
from typing import Literal

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.pickles import read_pickle
from torchgraft.formats.pickles.persistent import StorageId, storage_id
from torchgraft.formats.pickles.tensor_runs import TensorRuns
from torchgraft.formats.pickles.values import Nesting
from torchgraft.formats.stored_run import Form
from torchgraft.formats.stored_tensor import Storage
from torchgraft.formats.torch.legacy_far import FarStorage
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import is_far
from torchgraft.tensors import DTYPE_BITS

__all__ = ["TORCH_LEGACY", "read_legacy"]

_TOP = Nesting()
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def _recognise(head: bytes) -> bool:
    if not head.startswith((b"\x80", b"L")):
        return False
    try:
        value, _ = read_pickle(head[:64], where="")
    except CheckpointError:
        return False
    return value == _MAGIC


def read_legacy(file: ByteFile, nesting: Nesting = _TOP) -> Container:
    """Open such a file, which may itself be inside another. Raises `CheckpointError`."""
    where = file.name
    _, at = read_pickle(file.data, where=where)
    protocol, at = read_pickle(file.data, where=where, start=at)
    if protocol != _PROTOCOL:
        raise CorruptCheckpointError("it is of a version of the format that is not known", where=where)
    machine, at = read_pickle(file.data, where=where, start=at)
    swapped = isinstance(machine, dict) and machine.get("little_endian") is False
    storages = _Storages(file, nesting.prefix, swapped=swapped)
    tree, at = read_pickle(
        file.data,
        where=where,
        start=at,
        persistent=storages.find,
        file=file,
        nesting=nesting,
        runs=TensorRuns(storages, file.data) if isinstance(file.data, mmap.mmap) else None,
    )
    keys, at = read_pickle(file.data, where=where, start=at)
    storages.locate(keys, at)
    return Container(file.name, file.path, "torch legacy", tree)


class _Storages:
    """The storages that the pickle refers to; where their bytes are is known only when it has been read."""

    def __init__(self, file: ByteFile, prefix: str, *, swapped: bool) -> None:
        self._file = file
        self._prefix = prefix
        self._swapped = swapped
        self._is_far = is_far(file)
        self._ids: dict[str, StorageId] = {}
        self._known: dict[tuple[object, ...], Storage] = {}
        self._places: dict[str, int] = {}

    def find(self, key: object) -> object:
        wanted = storage_id(key)
        if not isinstance(wanted, StorageId):
            return wanted
        if not wanted.is_known:
            raise ValueError(f"torch.{wanted.dtype} is not a storage that is known: its length can't be told")
        return self._find(wanted)

    def label(self, keys: Sequence[str], forms: Sequence[Form]) -> tuple[str, str] | None:
        """See `RunStorages`: of storages that have not been met yet."""
        met = {
            key: StorageId(key, form.dtype, form.numel, None) for key, form in zip(keys, forms, strict=True)
        }
        if len(met) < len(keys) or not self._ids.keys().isdisjoint(met):
            return None
        self._ids.update(met)
        return f"{self._file.name}: storage ", f":{self._prefix}"

    def of_form(self, key: str, form: Form) -> Storage:
        """See `RunStorages`."""
        return self._find(StorageId(key, form.dtype, form.numel, None))

    def _find(self, wanted: StorageId) -> Storage:
        first = self._ids.setdefault(wanted.key, wanted)
        if (first.dtype, first.numel) != (wanted.dtype, wanted.numel):
            raise ValueError(f"storage {wanted.key[:100]!r} is described in two ways")
        _, start, numel = wanted.view or ("", 0, wanted.numel)
        if start + numel > wanted.numel:
            raise ValueError(f"a part of storage {wanted.key[:100]!r} reaches beyond it")
        known = self._known.get((wanted.key, start, numel))
        if known is None:
            known = self._storage(wanted, start, numel)
            self._known[wanted.key, start, numel] = known
        return known

    def _storage(self, wanted: StorageId, start: int, numel: int) -> Storage:
        width = DTYPE_BITS[wanted.dtype] // 8

        def load() -> memoryview:
            return self._file.view(self._places[wanted.key] + start * width, numel * width)

        where = f"{self._file.name}: storage {wanted.key[:100]}"
        name = f"{self._prefix}{wanted.key}" + (f"+{start}" if start else "")
        far = None
        if self._is_far:
            place = functools.partial(self._places.__getitem__, wanted.key)
            check = functools.partial(self._check_count, wanted)
            far = FarStorage(self._file, place, check, start * width)
        return Storage(where, name, wanted.dtype, numel * width, load, self._swapped, far)

    def locate(self, keys: object, at: int) -> None:
        """Walk the storages: for each key, in this order, a count of elements in 8 bytes and the bytes."""
        where = str(self._file.name)
        if not isinstance(keys, list):
            raise CorruptCheckpointError("the list of storages is missing", where=where)
        for key in keys:
            wanted = self._ids.get(str(key)) if isinstance(key, (str, int)) else None
            if wanted is None or wanted.key in self._places:
                raise CorruptCheckpointError("its list of storages and its tensors don't fit", where=where)
            if not self._is_far:
                self._check_count(wanted, self._file.view(at, 8))
            if at + 8 + wanted.nbytes > self._file.size:
                raise CorruptCheckpointError(
                    f"storage {wanted.key[:100]!r} takes {wanted.nbytes} bytes at {at + 8}, "
                    f"but the file has {self._file.size}",
                    where=where,
                    hint="the file may be truncated: download or save it again",
                )
            self._places[wanted.key] = at + 8
            at += 8 + wanted.nbytes
        if missing := self._ids.keys() - self._places.keys():
            raise CorruptCheckpointError(f"the bytes of {len(missing)} storages are missing", where=where)

    def _check_count(self, wanted: StorageId, before: memoryview) -> None:
        order: Literal["big", "little"] = "big" if self._swapped else "little"
        count = int.from_bytes(before, order, signed=True)
        if count != wanted.numel:
            raise CorruptCheckpointError(
                f"storage {wanted.key[:100]!r} has {count} elements instead of {wanted.numel}",
                where=self._file.name,
            )


TORCH_LEGACY = Format("torch legacy", _recognise, read_legacy)
