"""Layers that lie otherwise on the other side, and show it only when all else is paired.

A `Linear` that takes a flattened image, or a flattened feature map, is a convolution whose kernel covers it.
And a bare parameter that is multiplied from the right (`x @ proj`) is a `Linear`'s weight transposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from torchgraft.adapting import Permuted, Reshaped
from torchgraft.adapting.ops import Op, Shape
from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.pieces import Piece
from torchgraft.matching.structure_link import Link
from torchgraft.matching.structure_modules import Module

__all__ = ["PatchOrder", "flattened", "projections", "with_square_projections"]

PatchOrder = tuple[int, int, int]
"""In which order a patch's channels (0), rows (1) and columns (2) are flattened, the slowest first."""

_IMAGE = 4
"""Channels up to which a convolution is taken to see the image, whose patches libraries flatten in any order.
Feature maps are flattened as they lie: channels first."""

_LETTERS = "IHW"


def flattened(
    ours: Sequence[Module], theirs: Sequence[Module], orders: Callable[[], Mapping[str, PatchOrder]]
) -> Iterator[Link]:
    """Pair convolutions and `Linear` layers of as many elements, each the only one of its size.

    Args:
        ours: Open layers of the checkpoint.
        theirs: Of the model.
        orders: How the model flattens patches, by the names of its weights; known from a run.

    Raises:
        AmbiguousMatchError: Nothing tells in which order a patch is flattened.
    """
    for source in ours:
        found = [target for target in theirs if _same_size(source, target)]
        if len(found) == 1 and sum(_same_size(other, found[0]) for other in ours) == 1:
            yield _unflattened(source, found[0], orders)


def projections(ours: Sequence[Module], theirs: Sequence[Module]) -> Iterator[Link]:
    """Pair bare parameters with `Linear` weights of the transposed shape, each the only one of its shape."""
    for source in ours:
        found = [target for target in theirs if _transposed(source, target)]
        if len(found) == 1 and sum(_transposed(other, found[0]) for other in ours) == 1:
            yield _turned(source, found[0], "the only one of its shape, transposed")


def with_square_projections(links: Sequence[Link]) -> list[Link]:
    """The links, with square projections turned as the others are.

    Raises:
        AmbiguousMatchError: There are no others: a square parameter may or may not be transposed.
    """
    turned = {link.target.path[-1] for link in links if link.why.endswith("transposed")}
    return [_settled(link, turned) if _is_square_projection(link) else link for link in links]


def _settled(link: Link, turned: set[str]) -> Link:
    if turned:
        return _turned(link.source, link.target, f"{link.why}, transposed as the other projections are")
    name = link.source.main.name
    raise AmbiguousMatchError(
        f"{name!r} {list(link.source.main.shape)} is a bare parameter here and a layer's weight there, "
        f"and square: nothing tells whether it is transposed (→ {link.target.main.name})",
        hint=f'say how it lies: layouts={{"{name}": "IO"}} (--layout {name}=IO) for (in, out), or "OI"',
    )


def _is_square_projection(link: Link) -> bool:
    source, target = link.source.main, link.target.main
    alone = len(link.source.leaves) == len(link.target.leaves) == 1
    shape = source.shape
    square = len(shape) == 2 and shape[0] == shape[1] > 1 and target.shape == shape
    return (
        alone and square and (source.leaf == "") != (target.leaf == "") and not (source.layout or source.ops)
    )


def _same_size(source: Module, target: Module) -> bool:
    if source.leaves.keys() != target.leaves.keys() or "weight" not in source.leaves:
        return False
    one, other = source.leaves["weight"].shape, target.leaves["weight"].shape
    return {len(one), len(other)} == {2, 4} and one[0] == other[0] and math.prod(one) == math.prod(other)


def _unflattened(source: Module, target: Module, orders: Callable[[], Mapping[str, PatchOrder]]) -> Link:
    one, other = source.leaves["weight"], target.leaves["weight"]
    kernel = other.shape if len(one.shape) == 2 else one.shape
    known = None
    if kernel[1] <= _IMAGE:
        known = orders().get(other.origin) if len(other.shape) == 2 else _said(one)
    if known is None and kernel[1] <= _IMAGE:
        raise AmbiguousMatchError(
            f"{one.name!r} {list(one.shape)} → {other.name!r} {list(other.shape)}: "
            "nothing tells in which order a patch is flattened",
            hint=f'say how it lies: layouts={{"{one.name}": "OIHW"}} (--layout {one.name}=OIHW) for channels '
            'first, as torch.nn.Unfold does, or "OHWI" for channels last',
        )
    order = known or (0, 1, 2)
    ops = _to_kernel(one.shape, kernel, order) if len(one.shape) == 2 else _to_rows(kernel, order)
    return Link(_with(source, one, ops, other.shape), target, "the only one of its size, flattened")


def _said(weight: Piece) -> PatchOrder | None:
    """What the user says of a flattened weight: `OHWI`."""
    if len(weight.layout) != 4 or weight.layout[0] != "O":
        return None
    channels, rows, columns = (_LETTERS.find(letter) for letter in weight.layout[1:])
    order = (channels, rows, columns)
    return order if sorted(order) == [0, 1, 2] else None


def _to_kernel(rows: Shape, kernel: Shape, order: PatchOrder) -> tuple[Op, ...]:
    apart = (kernel[0], *(kernel[1 + axis] for axis in order))
    back = (0, *(1 + order.index(axis) for axis in range(3)))
    return (Reshaped(rows, apart), *(() if order == (0, 1, 2) else (Permuted(back),)))


def _to_rows(kernel: Shape, order: PatchOrder) -> tuple[Op, ...]:
    axes = (0, *(1 + axis for axis in order))
    turned = tuple(kernel[axis] for axis in axes)
    flat = Reshaped(turned, (kernel[0], math.prod(kernel[1:])))
    return (flat,) if order == (0, 1, 2) else (Permuted(axes), flat)


def _transposed(source: Module, target: Module) -> bool:
    one, other = source.main, target.main
    return (
        len(source.leaves) == len(target.leaves) == 1
        and (one.leaf == "") != (other.leaf == "")
        and len(one.shape) == 2
        and one.shape[0] != one.shape[1]
        and one.shape == other.shape[::-1]
    )


def _turned(source: Module, target: Module, why: str) -> Link:
    return Link(_with(source, source.main, (Permuted((1, 0)),), target.main.shape), target, why)


def _with(module: Module, changed: Piece, ops: tuple[Op, ...], shape: Shape) -> Module:
    new = replace(changed, ops=(*changed.ops, *ops), shape=shape)
    leaves = {leaf: new if piece is changed else piece for leaf, piece in module.leaves.items()}
    return replace(module, leaves=leaves)
