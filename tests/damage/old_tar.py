"""A tar archive as PyTorch before 0.1.10 wrote it; `torch.load` still reads it."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import warnings

import torch

__all__ = ["old_tar"]


class _Kept:
    """Stands for a tensor in the pickle."""

    def __init__(self, key: str) -> None:
        self.key = key


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.key if isinstance(obj, _Kept) else None


def _dumped(*values: object) -> bytes:
    return b"".join(pickle.dumps(value, 2) for value in values)


def _tensor(key: int, storage: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> bytes:
    numbers = struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, offset)
    return _dumped((key, storage, torch.FloatTensor)) + struct.pack("<iI", len(shape), 0) + numbers


def old_tar() -> bytes:
    """One with two storages, a view of a storage, and five tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = _dumped((10, "cpu", torch.FloatStorage)) + struct.pack("<q6f", 6, 0, 1, 2, 3, 4, 5)
        second = _dumped((11, "cuda:3", torch.LongStorage)) + struct.pack("<q3q", 3, 7, 8, 9)
    tensors = (
        _tensor(1, 10, (2, 3), (3, 1), 0) + _tensor(2, 10, (3, 2), (1, 3), 0) + _tensor(3, 11, (3,), (1,), 0)
    )  # fmt: skip
    more = _tensor(4, 77, (2,), (1,), 1) + _tensor(5, 10, (), (), 4)
    tree = io.BytesIO()
    names = ["a", "t", "long", "part", "scalar"]
    _Pickler(tree, 2).dump(
        {"model": {name: _Kept(str(key)) for key, name in enumerate(names, 1)}, "epoch": 3}
    )
    members = {
        "sys_info": _dumped({"protocol_version": 1000, "little_endian": True, "type_sizes": {"int": 4}}),
        "pickle": tree.getvalue(),
        "tensors": _dumped(5) + tensors + more,
        "storages": _dumped(2) + first + second + _dumped([(77, 10, 1, 3)]),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
