"""A split that depends on names and seed only: on no file system, machine or library's random numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.stratifying import by_groups, by_label_sets

__all__ = ["split"]

_BINS = 5
"""Into how many equally frequent ranges of values groups are told apart."""


def split(images: Images, val: float, seed: int) -> tuple[Images, Images]:
    """Training and validation part, alike in what their images are.

    Images are ranked by the SHA-256 of seed and name, which takes the place of chance.

    | labels | how |
    |---|---|
    | classes | the first `val` of each class, rounded, at least one and never all |
    | several classes | iterative stratification (Sechidis et al. 2011): the rarest class first |
    | numbers | one of each 1 / `val` neighbours in the order of the (first) number |
    | masks | the first `val` of all |
    | any, with groups | whole groups, exchanged until all classes are divided evenly |

    Raises:
        DataError: `val` is not between 0 and 1, or there is too little to divide.
    """
    if not 0 < val < 1:
        raise DataError(
            f"val={val} is not a share between 0 and 1", hint="val=0.2 keeps a fifth for validation"
        )
    if len(images) < 2:
        raise DataError("1 image can't be split", hint="add images, or pass val= as a data set of its own")
    ranks = [_rank(seed, name) for name in images.names]
    if images.groups:
        held_out = by_groups(_memberships(images), images.groups, val, lambda name: _rank(seed, name))
    elif images.task == "classes":
        held_out = _of_each_class(images, val, ranks)
    elif images.task == "multi-label":
        held_out = by_label_sets(images.labels, val, ranks)
    elif images.task == "regression":
        held_out = _of_neighbours(images, val, ranks)
    else:
        order = sorted(range(len(images)), key=ranks.__getitem__)
        held_out = set(order[: _count(val, len(images))])
    positions = range(len(images))
    train = images.subset(i for i in positions if i not in held_out)
    return train, images.subset(i for i in positions if i in held_out)


def _of_each_class(images: Images, val: float, ranks: Sequence[bytes]) -> set[int]:
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
        held_out.update(sorted(group, key=ranks.__getitem__)[: _count(val, len(group))])
    return held_out


def _of_neighbours(images: Images, val: float, ranks: Sequence[bytes]) -> set[int]:
    """As many runs of neighbours as images are wanted, and the first in rank of each."""
    order = sorted(range(len(images)), key=lambda index: (images.labels[index], ranks[index]))
    count = _count(val, len(images))
    edges = [round(place * len(order) / count) for place in range(count + 1)]
    return {min(order[start:end], key=ranks.__getitem__) for start, end in pairwise(edges)}


def _memberships(images: Images) -> list[tuple[int, ...]]:
    """The classes of each image; for numbers the range that it lies in, for masks none."""
    if images.task == "segmentation":
        return [()] * len(images)
    if images.task == "regression":
        order = sorted(range(len(images)), key=lambda index: images.labels[index])
        bins = [0] * len(images)
        for place, index in enumerate(order):
            bins[index] = place * _BINS // len(order)
        return [(number,) for number in bins]
    return [label if isinstance(label, tuple) else (label,) for label in images.labels]


def _count(val: float, total: int) -> int:
    return min(max(math.floor(val * total + 0.5), 1), total - 1)


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()
