"""Sizes of files as people write them, and which tensors go into which file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torchgraft.tensors import TensorRef

__all__ = ["divide", "size_in_bytes"]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def size_in_bytes(size: int | str) -> int:
    """`"5GB"` is 5,000,000,000 and `"5GiB"` is 5 · 2³⁰, as in Hugging Face's libraries; a number is bytes.

    Raises:
        ValueError: It is no size, or less than one byte.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size)
        if found is None:
            raise ValueError(f"shard_size={size!r} is no size such as '5GB' or '500MiB'")
        number, unit, binary = found[1], found[2].upper(), found[3]
        size = int(float(number) * (1024 if binary else 1000) ** _POWERS[unit])
    if size < 1:
        raise ValueError(f"shard_size must be a byte at least, not {size}")
    return size


def divide(tensors: Mapping[str, TensorRef], most: int) -> list[dict[str, TensorRef]]:
    """The tensors, in their order, in groups of at most `most` bytes; a larger one has a group of its own."""
    groups: list[dict[str, TensorRef]] = []
    filled = 0
    for key, ref in tensors.items():
        if not groups or (filled + ref.nbytes > most and groups[-1]):
            groups.append({})
            filled = 0
        groups[-1][key] = ref
        filled += ref.nbytes
    return groups or [{}]
