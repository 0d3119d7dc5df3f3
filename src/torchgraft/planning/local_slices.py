"""From the elements that are wanted of a tensor back to those that they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch

from torchgraft.adapting import Block, InputChannels, Permuted, Pointwise, Reshaped, Rows, Vocabulary
from torchgraft.adapting.ops import Op, Shape

__all__ = ["Box", "Step", "is_whole", "narrowed", "shape_of", "whole"]

Box: TypeAlias = tuple[tuple[int, int], ...]
"""A run of places, from the first to after the last, along each dimension."""

Step: TypeAlias = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
"""What is done with a part: given it, and the part of the model's own tensor that it becomes."""

_Back: TypeAlias = "tuple[Box, Step | None] | None"


def whole(shape: Shape) -> Box:
    """All of a tensor of this shape."""
    return tuple((0, size) for size in shape)


def shape_of(box: Box) -> Shape:
    """The shape of what it selects."""
    return tuple(stop - start for start, stop in box)


def is_whole(box: Box, shape: Shape) -> bool:
    """Whether it selects all of a tensor of this shape."""
    return shape_of(box) == tuple(shape)


def narrowed(ops: Sequence[Op], shape: Shape, box: Box) -> tuple[Box, tuple[Step, ...]]:
    """What of a source is needed for a part of what the ops make of it.

    Ops that move elements, or scale each by itself, are done on the part alone. One that makes an element out
    of others (a resampled table, a mean) is done on the whole, of which the part is cut: the same numbers in
    the same order of summation, to the bit.

    Args:
        ops: From the source to the result.
        shape: The source's.
        box: Which part of the result is wanted.

    Returns:
        The part of the source, and the steps that make the wanted part of it.
    """
    shapes = [tuple(shape)]
    for op in ops:
        shapes.append(op.shape(shapes[-1]))
    steps: list[Step] = []
    for place in reversed(range(len(ops))):
        op, given, made = ops[place], shapes[place], shapes[place + 1]
        back = _BACK.get(type(op))
        found = back(op, given, made, box) if back is not None else None
        if found is None:
            before = [partial(_applied, op) for op in ops[: place + 1]]
            return whole(shapes[0]), (*before, partial(_cut, box), *steps[::-1])
        box, step = found
        if step is not None:
            steps.append(step)
    return box, tuple(steps[::-1])


def _applied(op: Op, tensor: torch.Tensor, base: torch.Tensor | None) -> torch.Tensor:
    return op.apply(tensor, base if op.needs_base else None)


def _cut(box: Box, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG001  # a step
    return tensor[tuple(slice(start, stop) for start, stop in box)]


def _through_block(op: Any, given: Shape, made: Shape, box: Box) -> _Back:  # noqa: ARG001  # one of several
    (start, stop), *rest = box
    return ((op.start + start, op.start + stop), *rest), None


def _through_permuted(op: Any, given: Shape, made: Shape, box: Box) -> _Back:  # noqa: ARG001  # one of several
    back = tuple(box[op.axes.index(axis)] for axis in range(len(given)))
    return back, lambda tensor, _: tensor.permute(op.axes)


def _through_reshaped(op: Any, given: Shape, made: Shape, box: Box) -> _Back:  # noqa: ARG001  # one of several
    """Dimensions are joined or split in groups; of each those rows are read that hold what is wanted."""
    if 0 in given:
        return None
    taken: list[tuple[int, int]] = []
    flat: list[int] = []
    cuts: list[tuple[int, int]] = []
    between: list[int] = []
    inside: list[tuple[int, int]] = []
    for of, to, wanted in _groups(given, made, box):
        at, row = _first_long(of)
        place, below = _first_long(to)
        first, after = wanted[place][0] * below, wanted[place][1] * below
        rows = first // row, -(-after // row)
        taken += [*whole(of[:at]), rows, *whole(of[at + 1 :])][: len(of)]
        flat.append((rows[1] - rows[0]) * row)
        cuts.append((first - rows[0] * row, after - rows[0] * row))
        count = wanted[place][1] - wanted[place][0]
        between += [*to[:place], count, *to[place + 1 :]][: len(to)]
        inside += [*whole(to[:place]), (0, count), *wanted[place + 1 :]][: len(to)]

    def step(tensor: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        return _cut(tuple(inside), _cut(tuple(cuts), tensor.reshape(flat)).reshape(between))

    return tuple(taken), step


def _first_long(sizes: Shape) -> tuple[int, int]:
    """Which dimension is the first that is longer than 1, or the last; the elements in one row of it."""
    place = next((place for place, size in enumerate(sizes) if size > 1), max(len(sizes) - 1, 0))
    return place, math.prod(sizes[place + 1 :])


def _groups(given: Shape, made: Shape, box: Box) -> Iterator[tuple[Shape, Shape, Box]]:
    """The smallest runs of dimensions of the one shape that hold as much as runs of the other do."""
    i = j = 0
    while i < len(given) or j < len(made):
        begun, begun_too = i, j
        while True:
            here, there = math.prod(given[begun:i]), math.prod(made[begun_too:j])
            if here == there and i > begun and j > begun_too:
                break
            if i < len(given) and (here <= there or j == len(made)):
                i += 1
            elif j < len(made):
                j += 1
            else:
                break
        yield given[begun:i], made[begun_too:j], box[begun_too:j] or ((0, 1),)


def _through_channels(op: Any, given: Shape, made: Shape, box: Box) -> _Back:
    """A filter is made of itself alone; so is each of its numbers where none are added up."""
    rows, channels, *kernel = box
    scaled = op.mode == "zeros" or (op.mode == "repeat" and op.target > 1)
    copied = isinstance(op.mode, tuple) and all(
        isinstance(entry, int) or entry == "zeros" for entry in op.mode
    )
    if not (scaled or copied):
        return None
    back = (rows, (0, given[1]), *kernel)
    inside = (0, rows[1] - rows[0]), channels
    if channels == (0, made[1]):
        return back, partial(_applied, op)
    return back, lambda tensor, base: _cut(inside, op.apply(tensor, base))


def _through_rows(op: Any, given: Shape, made: Shape, box: Box) -> _Back:  # noqa: ARG001  # one of several
    (start, stop), *rest = box
    rows = op.rows[start:stop]
    new = None in rows
    if new and op.mode not in ("model", "own"):
        return None  # computed from all rows
    olds = [row for row in rows if row is not None]
    first, after = (min(olds), max(olds) + 1) if olds else (0, 0)
    back = ((first, after), *rest)
    if not new and rows == tuple(range(first, after)):
        return back, None
    places = [None if row is None else row - first for row in rows]
    return back, lambda tensor, base: _picked(places, tensor, base if new else None)


def _picked(rows: Sequence[int | None], tensor: torch.Tensor, base: torch.Tensor | None) -> torch.Tensor:
    olds = torch.tensor([old for old in rows if old is not None], dtype=torch.long, device=tensor.device)
    if base is None:
        return tensor.index_select(0, olds)
    dtype = torch.promote_types(tensor.dtype, base.dtype)
    made = base.detach().to(device=tensor.device, dtype=dtype, copy=True)
    news = [new for new, old in enumerate(rows) if old is not None]
    places = torch.tensor(news, dtype=torch.long, device=tensor.device)
    return made.index_copy_(0, places, tensor.index_select(0, olds).to(dtype))


_BACK: dict[type, Callable[[Any, Shape, Shape, Box], _Back]] = {
    Block: _through_block,
    Permuted: _through_permuted,
    Reshaped: _through_reshaped,
    Pointwise: _through_reshaped,
    InputChannels: _through_channels,
    Rows: _through_rows,
    Vocabulary: _through_rows,
}
