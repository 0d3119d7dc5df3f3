"""Where the chunks of a dataset are. Every chunk must be there: fill values are no weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.btrees import old_tree, records
from torchgraft.formats.hdf5.chunk_arrays import fixed_array, implicit_array
from torchgraft.formats.hdf5.chunk_runs import Chunk
from torchgraft.formats.hdf5.extensible_array import extensible_array
from torchgraft.formats.hdf5.filters import MAX_RATIO, Filter

__all__ = ["Chunks", "read_chunks"]

_SINGLE, _IMPLICIT, _FIXED, _EXTENSIBLE, _TREE = 1, 2, 3, 4, 5
_PLAIN_RECORD, _FILTERED_RECORD = 10, 11
_PARAMETERS = {_IMPLICIT: 0, _FIXED: 1, _EXTENSIBLE: 5, _TREE: 6}
"""Bytes that describe a list; its header says the same again."""

_MAX_PLACES = 1 << 62


@dataclass(frozen=True, slots=True)
class Chunks:
    """A dataset's chunks.

    Attributes:
        shape: Of each chunk, also of those that reach beyond the dataset.
        grid: How many there are along each dimension.
        filters: How they are packed.
        stored: Each chunk, by its number, row by row.
    """

    shape: tuple[int, ...]
    grid: tuple[int, ...]
    filters: tuple[Filter, ...]
    stored: dict[int, Chunk]


def read_chunks(
    blocks: Blocks,
    fields: Fields,
    version: int,
    shape: tuple[int, ...],
    limits: tuple[int | None, ...],
    width: int,
    filters: tuple[Filter, ...],
) -> Chunks:
    """The chunks of a dataset, from the rest of its layout message.

    Args:
        blocks: The file.
        fields: The message, behind version and class.
        version: The message's version: 3, or one of the later ones, which are alike.
        shape: The dataset's shape.
        limits: How large each dimension may become.
        width: Bytes of an element.
        filters: How the chunks are packed.
    """
    flags = fields.number(1) if version > 3 else 0
    rank = fields.number(1)
    address = fields.address() if version == 3 else None
    encoded = fields.number(1) if version > 3 else 4
    sizes = tuple(fields.number(encoded) for _ in range(rank))
    if sizes[-1:] != (width,) or len(sizes) != len(shape) + 1 or not all(sizes):
        raise blocks.corrupt("its chunks don't fit its shape and datatype")
    if flags & 1 and filters:
        raise blocks.unsupported("its last chunks are packed in another way than the rest")
    grid = tuple(-(-size // step) for size, step in zip(shape, sizes, strict=False))
    count, size = math.prod(grid), math.prod(sizes)
    if count > blocks.file.size:
        raise blocks.unsafe(f"a shape of {shape} needs {count} chunks, more than the file has bytes")
    blocks.spend_chunks(count)
    found: Iterator[tuple[int, Chunk]] = iter(())
    if count and version == 3:
        found = _from_tree(blocks, address, sizes, shape, grid)
    elif count:
        kind = fields.number(1)
        if kind == _SINGLE:
            found = _single(blocks, fields, flags, size, count)
        elif kind == _TREE:
            fields.take(_PARAMETERS[_TREE])
            found = _from_new_tree(blocks, fields.address(), size, grid, filtered=bool(filters))
        else:
            most = [
                None if limit is None else -(-limit // step)
                for limit, step in zip(limits, sizes, strict=False)
            ]
            found = _from_array(blocks, kind, fields, size, grid, most, filtered=bool(filters))
    stored: dict[int, Chunk] = {}
    used = 0
    ratio = MAX_RATIO if any(step.deflates for step in filters) else 1
    for number, chunk in found:
        if number in stored or len(stored) >= count:
            raise blocks.corrupt("it has a chunk twice")
        if chunk.offset + chunk.length > blocks.file.size:
            raise blocks.corrupt("the file ends before one of its chunks: it is truncated")
        if not filters and chunk.length != size:
            raise blocks.corrupt(f"one of its chunks has {chunk.length} bytes instead of {size}")
        if size > chunk.length * ratio:
            raise blocks.unsafe(f"{chunk.length} bytes claim to inflate to a chunk of {size}")
        used += chunk.length
        stored[number] = chunk
    if used > blocks.file.size:
        raise blocks.unsafe("its chunks overlap: they take more bytes than the file has")
    if len(stored) < count:
        raise blocks.corrupt(f"{count - len(stored)} of its {count} chunks were never written")
    return Chunks(sizes[:-1], grid, filters, stored)


def _from_tree(
    blocks: Blocks, root: int | None, sizes: tuple[int, ...], shape: tuple[int, ...], grid: tuple[int, ...]
) -> Iterator[tuple[int, Chunk]]:
    if root is None:
        return
    for key, address in old_tree(blocks, root, 1, 8 + 8 * len(sizes)):
        fields = Fields(blocks, key)
        length, mask = fields.number(4), fields.number(4)
        number = 0
        for size, step, steps in zip(shape, sizes, grid, strict=False):
            at = fields.size()
            if at % step or at >= size:
                raise blocks.corrupt("one of its chunks is out of place")
            number = number * steps + at // step
        if fields.size():  # where in an element it begins; HDF5 itself takes such a chunk for missing
            raise blocks.corrupt("one of its chunks is out of place")
        yield number, Chunk(blocks.base + address, length, mask)


def _single(blocks: Blocks, fields: Fields, flags: int, size: int, count: int) -> Iterator[tuple[int, Chunk]]:
    length, mask = (fields.size(), fields.number(4)) if flags & 2 else (size, 0)
    address = fields.address()
    if count == 1 and address is not None:
        yield 0, Chunk(blocks.base + address, length, mask)


def _from_new_tree(
    blocks: Blocks, header: int | None, size: int, grid: tuple[int, ...], *, filtered: bool
) -> Iterator[tuple[int, Chunk]]:
    """Each record has an address, the length and filters of a packed chunk, and its place in the grid."""
    if header is None:
        return
    kind = _FILTERED_RECORD if filtered else _PLAIN_RECORD
    for fields in records(blocks, header, (kind,)):
        spare = fields.left - 8 - 8 * len(grid)
        if spare != 0 and not (filtered and 4 < spare <= 12):
            raise blocks.corrupt("its list of chunks is damaged")
        address = fields.address()
        length, mask = (fields.number(spare - 4), fields.number(4)) if spare else (size, 0)
        number = 0
        for steps in grid:
            at = fields.size()
            if at >= steps:
                raise blocks.corrupt("one of its chunks is out of place")
            number = number * steps + at
        if address is not None:
            yield number, Chunk(blocks.base + address, length, mask)


def _from_array(
    blocks: Blocks,
    kind: int,
    fields: Fields,
    size: int,
    grid: tuple[int, ...],
    most: list[int | None],
    *,
    filtered: bool,
) -> Iterator[tuple[int, Chunk]]:
    """Chunks by an array of all that there may be: `most` along each dimension.

    Places in it count row by row, but for a dimension without an end: that is the slowest.
    """
    endless = [axis for axis, steps in enumerate(most) if steps is None]
    if kind not in _PARAMETERS or len(endless) != (kind == _EXTENSIBLE):
        raise blocks.corrupt("its chunks are listed in a way that does not fit its shape")
    fields.take(_PARAMETERS[kind])
    header = fields.address()
    order = endless + [axis for axis in range(len(grid)) if axis not in endless]
    strides = [0] * len(grid)
    total = 1
    for axis in reversed(order):
        strides[axis] = total
        total *= most[axis] or 1
    if total >= _MAX_PLACES:
        raise blocks.corrupt("the shape that it may have is impossible")
    whole = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]
    places: Iterable[int] = range(math.prod(grid))
    if strides != whole:
        along = [range(0, steps * stride, stride) for steps, stride in zip(grid, strides, strict=True)]
        places = map(sum, itertools.product(*along))
    if kind == _IMPLICIT:
        found = implicit_array(blocks, header, size, places)
    elif kind == _FIXED:
        found = fixed_array(blocks, header, size, total, places, filtered=filtered)
    else:
        found = extensible_array(blocks, header, size, places, filtered=filtered)
    yield from ((number, chunk) for number, chunk in enumerate(found) if chunk is not None)
