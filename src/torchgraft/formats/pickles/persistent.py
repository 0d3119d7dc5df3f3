"""What PyTorch writes in a pickle in place of a storage's bytes."""

from __future__ import annotations

from typing import NamedTuple

from torchgraft.formats.pickles.dtypes import storage_dtype
from torchgraft.tensors import DTYPE_BITS

__all__ = ["StorageId", "storage_id"]


class StorageId(NamedTuple):
    """A reference to a storage: its key, dtype, number of elements, and which part is meant (old files)."""

    key: str
    dtype: str
    numel: int
    view: tuple[str, int, int] | None

    @property
    def is_known(self) -> bool:
        """Whether it is of a dtype that is known: else nothing tells how many bytes it takes."""
        return self.dtype in DTYPE_BITS

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return self.numel * DTYPE_BITS[self.dtype] // 8


def storage_id(key: object) -> object:
    """A `StorageId`; or the class, where an old file refers to a module's class with its source code.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(key, tuple) and key:
        if key[0] == "module" and len(key) == 4:
            return key[1]
        if key[0] == "storage" and len(key) in (5, 6):
            _, storage_class, name, _, numel, *view = key
            if isinstance(name, int):
                name = str(name)
            if isinstance(name, str) and type(numel) is int and 0 <= numel < 1 << 62:
                return StorageId(name, storage_dtype(storage_class), numel, _view(view[0] if view else None))
    raise ValueError("it refers to something that is no storage")


def _view(view: object) -> tuple[str, int, int] | None:
    """`(key, offset, numel)` in elements."""
    if view is None:
        return None
    if isinstance(view, tuple) and len(view) == 3:
        key, offset, numel = view
        if type(offset) is type(numel) is int and offset >= 0 and numel >= 0:
            return str(key)[:100] if isinstance(key, (str, int)) else "", offset, numel
    raise ValueError("a part of a storage is described in a way that makes no sense")
