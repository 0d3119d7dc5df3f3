"""Dense layers after a flattened feature map, from libraries whose maps have their channels last.

Keras flattens a map of `7 x 7 x 512` row by row, PyTorch channel by channel. The shapes agree and the numbers
do not: without this, a network would load whole and be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from torchgraft.adapting import Permuted, Reshaped
from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.flow import Flow
from torchgraft.matching.pieces import Piece
from torchgraft.matching.structure_link import Link

__all__ = ["with_maps"]


def with_maps(links: Sequence[Link], flow: Flow | None, targets: Sequence[Piece]) -> list[Link]:
    """The links, with dense layers whose inputs are a flattened map in PyTorch's order.

    Args:
        links: Pairs of layers; the checkpoint's are in PyTorch's layout.
        flow: Of the model, if it could be run.
        targets: The model's tensors.

    Raises:
        AmbiguousMatchError: A layer may follow a flattened map, and nothing tells the map's shape.
    """
    if not any(_was_turned(piece, 4) for link in links for piece in link.source.leaves.values()):
        return list(links)  # its maps have their channels first, as PyTorch's do, or it has none
    model = _Model(flow, targets)
    return [_in_order(link, model) for link in links]


class _Model:
    """What comes before each layer, as far as it is known."""

    def __init__(self, flow: Flow | None, targets: Sequence[Piece]) -> None:
        self._flow = flow
        self._sizes = {target.origin: target.shape[0] for target in targets if target.shape}
        matrices = [target for target in targets if len(target.shape) > 1]
        self._before = {target.origin: before.shape[0] for before, target in pairwise(matrices)}
        self._channels = {target.shape[0] for target in targets if len(target.shape) == 4}

    def map_before(self, layer: str, inputs: int) -> tuple[int, int] | Literal["none", "unknown"]:
        """The channels and the side of the flattened map that a `Linear` takes.

        Args:
            layer: The name of its weight.
            inputs: How many it takes.
        """
        if self._flow is not None and layer in self._flow.above:
            layers = {
                name.rpartition(".")[0]: self._sizes[name]
                for name in self._flow.names(self._flow.above[layer])
                if name in self._sizes
            }
            channels = set(layers.values())
            if inputs in channels or inputs == sum(layers.values()):
                return "none"  # pooled, or so many branches side by side
            size = min(channels, default=inputs)
            if inputs <= size:
                return "none"  # a part of what is before it: a map is never smaller than its channels
            side = _side(inputs, size)
            # enough layers of one size to fill it side by side may be branches, or a sum before a map
            alone = len(channels) == 1 and len(layers) * size < inputs
            return (size, side) if side and alone else "unknown"
        if self._before.get(layer) == inputs or not any(_side(inputs, size) > 1 for size in self._channels):
            return "none"
        return "unknown"


def _side(inputs: int, channels: int) -> int:
    """The side of a square map of so many channels; 0 if there is none."""
    side = math.isqrt(inputs // channels) if channels else 0
    return side if side * side * channels == inputs else 0


def _was_turned(piece: Piece, rank: int) -> bool:
    return len(piece.whole) == rank and any(isinstance(op, Permuted) for op in piece.ops)


def _in_order(link: Link, model: _Model) -> Link:
    source, target = link.source.leaves.get("weight"), link.target.leaves.get("weight")
    if source is None or target is None or len(target.shape) != 2 or not _was_turned(source, 2):
        return link
    outputs, inputs = source.shape
    found = model.map_before(target.origin, inputs)
    if found == "none":
        return link
    if found == "unknown":
        raise AmbiguousMatchError(
            f"{source.name!r} {list(source.whole)} may follow a flattened map, whose channels are last there "
            f"and first in PyTorch (→ {target.name}), and nothing tells the map's shape",
            hint="give an input that the model takes, example=…, of the size it was trained on",
        )
    size, side = found
    rows = (outputs, side, side, size)
    steps = (
        Reshaped(source.shape, rows),
        Permuted((0, 3, 1, 2)),
        Reshaped((outputs, size, side, side), source.shape),
    )
    leaves = {**link.source.leaves, "weight": replace(source, ops=(*source.ops, *steps))}
    return Link(
        replace(link.source, leaves=leaves), link.target, f"{link.why}; the map before it channels first"
    )
