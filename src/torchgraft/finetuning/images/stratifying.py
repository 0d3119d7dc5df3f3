"""Two parts that are alike in their classes, where images have several classes or must stay together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchgraft.errors import DataError

__all__ = ["by_groups", "by_label_sets"]

_ROUNDS = 200
_WORK = 200_000_000
"""Groups times classes times rounds, at most: of very many groups, chance makes an even choice by itself."""

_EXCHANGES = 200_000
"""Pairs of groups up to which exchanges are tried, beside moves."""


def by_label_sets(labels: Sequence[tuple[int, ...]], val: float, ranks: Sequence[bytes]) -> set[int]:
    """Positions for validation: iterative stratification, with ranks in the place of chance.

    The class of which fewest images are left is dealt out first, each image to the part that lacks the
    class most; of equals, to that which lacks images most; then to training. Images of no class come last.
    (Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data, 2011.)
    """
    shares = (1 - val, val)
    total = Counter(label for row in labels for label in row)
    lacks = [{label: share * count for label, count in total.items()} for share in shares]
    room = [share * len(labels) for share in shares]
    members: dict[int, list[int]] = {label: [] for label in total}
    for index in sorted(range(len(labels)), key=ranks.__getitem__):
        for label in labels[index]:
            members[label].append(index)
    left = dict(total)
    part_of: dict[int, int] = {}

    def deal(index: int, part: int) -> None:
        part_of[index] = part
        room[part] -= 1
        for label in labels[index]:
            lacks[part][label] -= 1
            left[label] -= 1

    while any(left.values()):
        rarest = min((count, label) for label, count in left.items() if count)[1]
        for index in members[rarest]:
            if index not in part_of:
                deal(index, max((0, 1), key=lambda part: (lacks[part][rarest], room[part], -part)))
    for index in sorted(range(len(labels)), key=ranks.__getitem__):
        if index not in part_of:
            deal(index, max((0, 1), key=lambda part: (room[part], -part)))
    held_out = {index for index, part in part_of.items() if part == 1}
    if not held_out or len(held_out) == len(labels):
        order = sorted(range(len(labels)), key=ranks.__getitem__)
        held_out = {order[0]} if not held_out else set(order[1:])
    return held_out


def by_groups(
    memberships: Sequence[tuple[int, ...]],
    groups: Sequence[str],
    val: float,
    rank: Callable[[str], bytes],
) -> set[int]:
    """Positions for validation, such that no group is on both sides.

    Groups are taken by rank until there are enough; then groups are moved and exchanged, the best first, as
    long as the shares of all classes, and of images, come nearer to `val` by it. No class loses its last
    group for training.

    Raises:
        DataError: There is only one group, or none can be spared.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    if len(members) < 2:
        raise DataError(
            f"all images belong to the group {groups[0]!r}, which can't be split",
            hint="pass val= as a data set of its own",
        )
    names = sorted(members, key=rank)
    classes = sorted({label for row in memberships for label in row})
    column = {label: place for place, label in enumerate(classes)}
    counts = np.zeros((len(names), len(classes) + 1))
    for row, name in zip(counts, names, strict=True):
        row[-1] = len(members[name])
        for index in members[name]:
            for label in memberships[index]:
                row[column[label]] += 1
    held_out = _even_rows(counts, val)
    if not held_out.any():
        raise DataError(
            "the groups can't be split: each has a class that is in no other",
            hint="pass val= as a data set of its own",
        )
    return {index for name, chosen in zip(names, held_out, strict=True) if chosen for index in members[name]}


def _even_rows(counts: np.ndarray[Any, Any], val: float) -> np.ndarray[Any, Any]:
    """Which rows of (groups, classes and, last, all) to hold out, so that `val` of each column is."""
    total = counts.sum(axis=0)
    holds = counts[:, :-1] > 0
    holders = holds.sum(axis=0)
    out = np.zeros(len(counts), dtype=bool)

    def distances(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = ((sums / total - val) ** 2).sum(axis=-1)
        return found

    def spared(gone: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = (gone < holders).all(axis=-1)
        return found

    sums, gone = np.zeros_like(total), np.zeros_like(holders)
    for row in range(len(counts)):
        if sums[-1] >= val * total[-1] or out.sum() == len(out) - 1:
            break
        if spared(gone + holds[row]):
            out[row] = True
            sums, gone = sums + counts[row], gone + holds[row]
    for _ in range(min(_ROUNDS, _WORK // counts.size)):
        sums, gone = counts[out].sum(axis=0), holds[out].sum(axis=0)
        sign = np.where(out, -1, 1)[:, None]
        moved = distances(sums + sign * counts)
        moved[~spared(gone + sign * holds)] = np.inf
        if out.sum() == 1:
            moved[out] = np.inf
        if (~out).sum() == 1:
            moved[~out] = np.inf
        best, change = moved.min(), [int(moved.argmin())]
        inside, outside = np.flatnonzero(out), np.flatnonzero(~out)
        if len(inside) * len(outside) <= _EXCHANGES:
            for leaving in inside:
                exchanged = distances(sums - counts[leaving] + counts[outside])
                exchanged[~spared(gone - holds[leaving] + holds[outside])] = np.inf
                if exchanged.min() < best:
                    best, change = exchanged.min(), [int(leaving), int(outside[exchanged.argmin()])]
        if not best < distances(sums) - 1e-12:
            break
        out[change] = ~out[change]
    return out
