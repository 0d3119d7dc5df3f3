"""A split that depends on names and seed only: on no file system, machine or library's random numbers."""

from __future__ import annotations

import hashlib
import math

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images

__all__ = ["split"]


def split(images: Images, val: float, seed: int) -> tuple[Images, Images]:
    """Training and validation part, each class divided in the same proportion.

    A class's photos are ranked by the SHA-256 of seed and name; the first `val` of them, rounded,
    are for validation, at least one and never all.

    Raises:
        DataError: `val` is not between 0 and 1, or a class has fewer than two photos.
    """
    if not 0 < val < 1:
        raise DataError(
            f"val={val} is not a share between 0 and 1", hint="val=0.2 keeps a fifth for validation"
        )
    members: dict[int, list[int]] = {}
    for index, label in enumerate(images.labels):
        members.setdefault(label, []).append(index)
    small = [images.classes[label] for label, group in members.items() if len(group) < 2]
    if small:
        raise DataError(
            f"class {small[0]!r} is too small to split: it has 1 image"
            + (f" (and {len(small) - 1} more such classes)" if small[1:] else ""),
            hint="add images to it, or pass val= as a data set of its own",
        )
    held_out: set[int] = set()
    for group in members.values():
        ranked = sorted(group, key=lambda index: _rank(seed, images.names[index]))
        count = min(max(math.floor(val * len(group) + 0.5), 1), len(group) - 1)
        held_out.update(ranked[:count])
    order = range(len(images))
    return images.subset(i for i in order if i not in held_out), images.subset(
        i for i in order if i in held_out
    )


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()
