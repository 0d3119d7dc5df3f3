"""The checksum of zip archives, by the fastest library that is installed: isal, zlib-ng or Python's own."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import cast

from torchgraft.storage.byte_file import ByteFile

__all__ = ["crc32", "crc32_of"]

_PIECE = 1 << 25
_LARGE = 1 << 27
"""From here on, what has been summed up is given back to the system before the next piece is read."""


def _fastest() -> Callable[[memoryview | bytes, int], int]:
    for module in ("isal.isal_zlib", "zlib_ng.zlib_ng"):
        try:
            return cast("Callable[[memoryview | bytes, int], int]", import_module(module).crc32)
        except (ImportError, AttributeError):
            continue
    return zlib.crc32


crc32 = _fastest()
"""CRC-32 of some bytes, going on from that of those before."""


def crc32_of(file: ByteFile, offset: int, length: int) -> int:
    """CRC-32 of a part of a file, a few megabytes at a time.

    Of a large part no more stays in memory than that; nobody may have written into views of it before.
    """
    value = 0
    for at in range(offset, offset + length, _PIECE):
        size = min(_PIECE, offset + length - at)
        value = crc32(file.view(at, size), value)
        if length > _LARGE and hasattr(file, "forget"):
            file.forget(at, size)
    return value
