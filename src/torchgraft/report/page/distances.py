"""How far the modules of a model moved: their tensors' distances together, in proportion to their lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgraft.comparing import TensorDiff, ValueDiff

__all__ = ["Moved", "distances", "is_weight"]

_MOST_ROWS = 48


@dataclass(frozen=True, slots=True)
class Moved:
    """A module.

    Attributes:
        name: Its path.
        tensors: How many of its tensors were compared.
        changed: How many of them are other ones.
        moved: The distance of those, as a share of their length.
    """

    name: str
    tensors: int
    changed: int
    moved: float


def distances(tensors: Sequence[TensorDiff]) -> list[Moved]:
    """Modules in order, as deep as there is room for. Buffers that count (batches seen) are left out."""
    compared = [
        (tensor.name.split("."), tensor.values)
        for tensor in tensors
        if tensor.values is not None and is_weight(tensor)
    ]
    groups = _grouped(compared, 1)
    depth = 2
    while True:
        deeper = _grouped(compared, depth)
        if len(deeper) > _MOST_ROWS or (len(deeper) == len(groups) and depth > 12):
            break
        if [len(members) for _, members in deeper] == [1] * len(deeper) and len(deeper) > len(groups):
            break  # tensors rather than modules
        groups, depth = deeper, depth + 1
    return [_moved(path, [values for _, values in members]) for path, members in groups[: 4 * _MOST_ROWS]]


def is_weight(tensor: TensorDiff) -> bool:
    """Whether its numbers are measures rather than counts: those of batches seen would drown the weights."""
    return (tensor.dtypes[0] or "").startswith(("float", "bfloat", "complex"))


def _grouped(
    compared: Sequence[tuple[list[str], ValueDiff]], depth: int
) -> list[tuple[str, list[tuple[list[str], ValueDiff]]]]:
    def module(item: tuple[list[str], ValueDiff]) -> str:
        return ".".join((item[0][:-1] or item[0])[:depth])

    return [(path, list(members)) for path, members in groupby(compared, module)]


def _moved(path: str, found: Sequence[ValueDiff]) -> Moved:
    distance = math.hypot(*(values.distance for values in found))
    norm = math.hypot(*(values.norm for values in found))
    moved = 0.0 if not distance else distance / norm if norm else math.inf
    return Moved(path, len(found), sum(bool(values.differing) for values in found), moved)
