"""Dense layers after a flattened feature map, from libraries whose maps have their channels last.

Keras flattens a map of `7 x 7 x 512` row by row, PyTorch channel by channel. The shapes agree and the numbers
do not: without this, a network would load whole and be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
    sizes = {target.origin: target.shape[0] for target in targets if target.shape}
    return [_in_order(link, flow, sizes) for link in links]


def _was_turned(piece: Piece, rank: int) -> bool:
    return len(piece.whole) == rank and any(isinstance(op, Permuted) for op in piece.ops)


def _in_order(link: Link, flow: Flow | None, sizes: Mapping[str, int]) -> Link:
    source, target = link.source.leaves.get("weight"), link.target.leaves.get("weight")
    if source is None or target is None or len(target.shape) != 2 or not _was_turned(source, 2):
        return link
    outputs, inputs = source.shape
    if flow is not None and target.origin in flow.above:
        channels = {sizes[name] for name in flow.names(flow.above[target.origin]) if name in sizes}
    else:
        channels = {inputs} if inputs in sizes.values() else set()
    if channels == {inputs} or any(inputs % size for size in channels):
        return link
    size = next(iter(channels)) if len(channels) == 1 else 0
    side = math.isqrt(inputs // size) if size else 0
    if not size or side * side * size != inputs:
        raise AmbiguousMatchError(
            f"{source.name!r} {list(source.whole)} may follow a flattened map, whose channels are last there "
            f"and first in PyTorch (→ {target.name}), and nothing tells the map's shape",
            hint="give an input that the model takes, example=…, of the size it was trained on",
        )
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
