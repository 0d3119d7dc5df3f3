"""Exported programs (`torch.export.save`, `.pt2`): weights in entries of a zip archive, listed in JSON.

Before PyTorch 2.8 such an archive held a file of `torch.save` instead.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import replace

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.archives.inflated import Inflated
from torchgraft.formats.archives.zip_directory import Entry, is_zip, read_directory
from torchgraft.formats.container import Container, ZipFormat
from torchgraft.formats.pickles.values import Nesting
from torchgraft.formats.stored_tensor import Storage, stored_tensor
from torchgraft.formats.strict_json import read_json_table
from torchgraft.formats.torch.zip_file import read_archive
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.memory import MemoryFile
from torchgraft.storage.part import FilePart
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["TORCH_EXPORT"]

_LIST = "_weights_config.json"
_OLD = "serialized_state_dict.pt"
_MAX_LIST = 1 << 26
_MAX_INFLATED = 1 << 26
_STRIDED = 7
_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""Numbers of dtypes in the list; those are of the export format, not PyTorch's own."""


def _recognise(names: Collection[str]) -> bool:
    return _OLD in names or any("data/weights/" in name and name.endswith(_LIST) for name in names)


def _read(file: ByteFile, entries: Mapping[str, Entry]) -> Container:
    if _OLD in entries:
        return Container(file.name, file.path, "torch export", _read_saved(entries[_OLD], _OLD))
    lists = [name for name in entries if "data/weights/" in name and name.endswith(_LIST)]
    order = entries.get(lists[0].partition("data/weights/")[0] + "byteorder")
    if order is not None and bytes(order.view()[:16]).strip() != b"little":
        raise CorruptCheckpointError(
            "its byte order is not little", where=file.name, hint="export it again on another machine"
        )
    models = {
        name.rpartition("/")[2].removesuffix(_LIST): _read_weights(entries, name, Inflated())
        for name in lists
    }
    tree = next(iter(models.values())) if len(models) == 1 else models
    return Container(file.name, file.path, "torch export", tree)


def _read_weights(entries: Mapping[str, Entry], name: str, inflated: Inflated) -> dict[str, object]:
    where = f"{entries[name].file.name}: {name}"
    listed = _as_file(replace(entries[name], verify=True))  # small, and a wrong name or shape is not seen
    config = read_json_table(listed, max_bytes=_MAX_LIST).get("config")
    if not isinstance(config, dict):
        raise CorruptCheckpointError("the list of weights is missing", where=where)
    folder = name.rpartition("/")[0]
    tree: dict[str, object] = {}
    for key, described in config.items():
        match described:
            case {"path_name": str(path), "use_pickle": bool(pickled), "tensor_meta": meta}:
                entry = entries.get(f"{folder}/{path}")
            case _:
                entry, pickled, meta = None, False, None
        if entry is None:
            raise CorruptCheckpointError(f"the entry of {key[:200]!r} is missing", where=where)
        tree[key] = _pickled(entry, path, key) if pickled else _tensor(entry, meta, inflated, key)
    return tree


def _tensor(entry: Entry, meta: object, inflated: Inflated, key: str) -> TensorRef:
    where = f"{entry.file.name}: {entry.name}"
    match meta:
        case {
            "dtype": int(code),
            "layout": int(layout),
            "sizes": [*sizes],
            "strides": [*strides],
            "storage_offset": {"as_int": int(offset)},
        } if layout == _STRIDED and code in _DTYPES:
            dtype, shape, stride = _DTYPES[code], _numbers(sizes), _numbers(strides)
        case _:
            raise CorruptCheckpointError(
                f"{key[:200]!r} is described in a way that is not known", where=where
            )
    if shape is None or stride is None or entry.size % (DTYPE_BITS[dtype] // 8):
        raise CorruptCheckpointError(f"the shape or dtype of {key[:200]!r} is impossible", where=where)
    load = functools.partial(inflated.view, entry) if entry.deflated else entry.view
    storage = Storage(where, entry.name, dtype, entry.size, load, far=entry.far)
    return stored_tensor(storage, dtype, offset, shape, stride, name=key)


def _pickled(entry: Entry, name: str, key: str) -> TensorRef:
    value = _read_saved(entry, name)
    if not isinstance(value, TensorRef):
        raise CorruptCheckpointError(
            f"{key[:200]!r} is said to be a tensor, and is none", where=f"{entry.file.name}: {entry.name}"
        )
    return value


def _numbers(values: list[object]) -> tuple[int, ...] | None:
    found = [
        value["as_int"] for value in values if isinstance(value, dict) and type(value.get("as_int")) is int
    ]
    return tuple(found) if len(found) == len(values) else None


def _read_saved(entry: Entry, name: str) -> object:
    """What the file of `torch.save` holds that is this entry."""
    saved = _as_file(entry)
    if not is_zip(bytes(saved.view(0, min(4, saved.size)))):
        raise CorruptCheckpointError("this entry is not what torch.save writes", where=saved.name)
    return read_archive(saved, read_directory(saved), Nesting(1, f"{name}/")).tree


def _as_file(entry: Entry) -> ByteFile:
    """An entry as a file: where it is when it is stored as it is, else in memory."""
    if not entry.deflated:
        if entry.verify:
            entry.part(0, 0)  # holds the whole entry against its checksum
        return FilePart(entry.file, entry.offset, entry.size, entry.name)
    where = f"{entry.file.name}: {entry.name}"
    if entry.size > _MAX_INFLATED:
        raise UnsafeCheckpointError(
            f"a compressed file of {entry.size:,} bytes inside it is not opened",
            where=where,
            hint="unpack it and open the file inside",
        )
    return MemoryFile(where, entry.view())


TORCH_EXPORT = ZipFormat("torch export", _recognise, _read)
