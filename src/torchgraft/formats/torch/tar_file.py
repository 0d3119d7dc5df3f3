"""`torch.save`'s format before PyTorch 0.1.10: a tar archive of storages, tensors over them, and a pickle."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.archives.tar_members import first_name, is_tar, read_members
from torchgraft.formats.container import Container, Format
from torchgraft.formats.pickles import read_pickle
from torchgraft.formats.pickles.dtypes import storage_dtype
from torchgraft.formats.stored_tensor import Storage, stored_tensor
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import FarRange
from torchgraft.storage.part import FilePart
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["TORCH_TAR"]

_MEMBERS = ("sys_info", "pickle", "storages", "tensors")
_MAX_DIMENSIONS = 64


def _recognise(head: bytes) -> bool:
    return is_tar(head) and first_name(head).removeprefix("./") in _MEMBERS


def _read(file: ByteFile) -> Container:
    members = read_members(file)
    if missing := [name for name in _MEMBERS if name not in members and name != "sys_info"]:
        raise CorruptCheckpointError(f"it has no member {missing[0]!r}", where=file.name)
    parts = {name: FilePart(file, *members[name], name) for name in members if name in _MEMBERS}
    swapped = False
    if "sys_info" in parts:
        machine, _ = read_pickle(parts["sys_info"].data, where=parts["sys_info"].name)
        swapped = isinstance(machine, dict) and machine.get("little_endian") is False
    storages = _read_storages(parts["storages"], swapped=swapped)
    tensors = _read_tensors(parts["tensors"], storages)

    def find(key: object) -> object:
        if isinstance(key, tuple) and key:
            return key[0]  # a module's class, with its source code
        number = _key(key)
        if number in tensors:
            return tensors[number]
        if number in storages:
            return storages[number]
        raise ValueError("it refers to a tensor or storage that is not in the archive")

    pickle = parts["pickle"]
    tree, _ = read_pickle(pickle.data, where=pickle.name, persistent=find, file=pickle)
    return Container(file.name, file.path, "torch tar", tree)


def _read_storages(part: FilePart, *, swapped: bool) -> dict[int, Storage]:
    """Their number; for each a pickled `(key, location, class)`, a count in 8 bytes, the numbers; then views.

    A view is `(key, key of the storage it looks into, offset, count)`.
    """
    storages: dict[int, Storage] = {}
    at = 0
    count, at = _count(part, at)
    for _ in range(count):
        entry, at = read_pickle(part.data, where=part.name, start=at)
        if not isinstance(entry, tuple) or len(entry) != 3 or not _is_new(entry[0], storages):
            raise CorruptCheckpointError(
                "a storage is described in a way that makes no sense", where=part.name
            )
        key, dtype = _key(entry[0]), _dtype(entry[2], part.name)
        numel = int.from_bytes(part.view(at, 8), "big" if swapped else "little", signed=True)
        nbytes = numel * DTYPE_BITS[dtype] // 8
        if at + 8 + nbytes > part.size or nbytes < 0:
            raise CorruptCheckpointError(
                f"storage {key} takes {nbytes} bytes at {at + 8}, but it has {part.size}",
                where=part.name,
                hint="the file may be truncated: download it again",
            )
        where = f"{part.name}: storage {key}"
        load = functools.partial(part.view, at + 8, nbytes)
        storages[key] = Storage(where, str(key), dtype, nbytes, load, swapped, FarRange.of(part, at + 8))
        at += 8 + nbytes
    views, _ = read_pickle(part.data, where=part.name, start=at)
    if not isinstance(views, (list, tuple)):
        raise CorruptCheckpointError("the list of views of storages is missing", where=part.name)
    for view in views:
        match view:
            case (key, root, int(offset), int(numel)) if _is_new(key, storages) and _key(root) in storages:
                storages[_key(key)] = _part_of(storages[_key(root)], offset, numel)
            case _:
                raise CorruptCheckpointError("a view of a storage makes no sense", where=part.name)
    return storages


def _part_of(root: Storage, offset: int, numel: int) -> Storage:
    width = DTYPE_BITS[root.dtype] // 8
    begin, end = offset * width, (offset + numel) * width
    if not 0 <= begin <= end <= root.nbytes:
        raise CorruptCheckpointError("a part of it reaches beyond it", where=root.where)
    key = f"{root.key}+{offset}"
    far = FarRange.of(root.far.file, root.far.offset + begin) if isinstance(root.far, FarRange) else None
    return Storage(
        root.where, key, root.dtype, end - begin, lambda: root.load()[begin:end], root.swapped, far
    )


def _read_tensors(part: FilePart, storages: dict[int, Storage]) -> dict[int, TensorRef]:
    """Their number; for each a pickled `(key, storage's key, class)`, dimensions, shape, strides, offset."""
    tensors: dict[int, TensorRef] = {}
    at = 0
    count, at = _count(part, at)
    for _ in range(count):
        entry, at = read_pickle(part.data, where=part.name, start=at)
        triple = entry if isinstance(entry, tuple) and len(entry) == 3 else (None, None, None)
        storage = storages.get(_key(triple[1]))
        if storage is None or not _is_new(triple[0], tensors) or not _is_new(triple[0], storages):
            raise CorruptCheckpointError(
                "a tensor is described in a way that makes no sense", where=part.name
            )
        (dimensions,) = struct.unpack("<i", part.view(at, 4))
        if not 0 <= dimensions <= _MAX_DIMENSIONS:
            raise CorruptCheckpointError(f"a tensor of {dimensions} dimensions", where=part.name)
        # The number of dimensions is followed by 4 bytes that mean nothing.
        numbers = struct.unpack(f"<{2 * dimensions + 1}q", part.view(at + 8, 16 * dimensions + 8))
        at += 16 + 16 * dimensions
        shape, stride = numbers[:dimensions], numbers[dimensions:-1]
        tensors[_key(triple[0])] = stored_tensor(storage, storage.dtype, numbers[-1], shape, stride)
    return tensors


def _count(part: FilePart, at: int) -> tuple[int, int]:
    count, at = read_pickle(part.data, where=part.name, start=at)
    if type(count) is not int or count < 0:
        raise CorruptCheckpointError("the number of its contents is missing", where=part.name)
    return count, at


def _key(key: object) -> int:
    """Keys were addresses in memory: numbers, or texts of them. -1 for what is no key."""
    if isinstance(key, str) and len(key) <= 20 and key.isascii() and key.isdigit():
        return int(key)
    return key if type(key) is int else -1


def _is_new(key: object, known: Mapping[int, object]) -> bool:
    return _key(key) >= 0 and _key(key) not in known


def _dtype(storage_class: object, where: str) -> str:
    try:
        dtype = storage_dtype(storage_class)
    except ValueError as error:
        raise CorruptCheckpointError(str(error), where=where) from error
    if dtype not in DTYPE_BITS:
        raise CorruptCheckpointError(f"torch.{dtype} is not a storage that is known", where=where)
    return dtype


TORCH_TAR = Format("torch tar", _recognise, _read)
