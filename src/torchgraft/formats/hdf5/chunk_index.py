"""Where the chunks of a dataset are. Every chunk must be there: fill values are no weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.btrees import old_tree
from torchgraft.formats.hdf5.filters import MAX_RATIO, Filter

__all__ = ["Chunk", "Chunks", "read_chunks"]

_SINGLE, _IMPLICIT, _FIXED = 1, 2, 3
_NAMES = {4: "an extensible array", 5: "a version 2 B-tree"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored chunk.

    Attributes:
        offset: Where it is in the file.
        length: Bytes it takes there.
        mask: A bit for each filter that was left out.
    """

    offset: int
    length: int
    mask: int


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
    width: int,
    filters: tuple[Filter, ...],
) -> Chunks:
    """The chunks of a dataset, from the rest of its layout message.

    Args:
        blocks: The file.
        fields: The message, behind version and class.
        version: The message's version: 3, or one of the later ones, which are alike.
        shape: The dataset's shape.
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
        found = _from_array(blocks, fields, flags, size, count, bool(filters))
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
        yield number, Chunk(blocks.base + address, length, mask)


def _from_array(
    blocks: Blocks, fields: Fields, flags: int, size: int, count: int, filtered: bool
) -> Iterator[tuple[int, Chunk]]:
    kind = fields.number(1)
    if kind == _SINGLE:
        length, mask = (fields.size(), fields.number(4)) if flags & 2 else (size, 0)
        address = fields.address()
        if count == 1 and address is not None:
            yield 0, Chunk(blocks.base + address, length, mask)
    elif kind == _IMPLICIT:
        address = fields.address()
        if address is not None:
            yield from ((n, Chunk(blocks.base + address + n * size, size, 0)) for n in range(count))
    elif kind == _FIXED:
        fields.take(1)
        yield from _from_fixed_array(blocks, fields.address(), size, count, filtered)
    else:
        raise blocks.unsupported(f"its chunks are listed in {_NAMES.get(kind, 'an unknown way')}")


def _from_fixed_array(
    blocks: Blocks, header: int | None, size: int, count: int, filtered: bool
) -> Iterator[tuple[int, Chunk]]:
    """Entries in one run, or in pages of a power of two of them; a checksum follows each."""
    if header is None:
        return
    fields = blocks.fields(header, 24, b"FAHD")
    fields.take(2)
    width, page_bits, entries, block = fields.number(1), fields.number(1), fields.size(), fields.address()
    if width != 8 and not (filtered and 12 < width <= 20):
        raise blocks.corrupt("its list of chunks is damaged")
    if entries != count or block is None or page_bits > 32:
        raise blocks.corrupt("its list of chunks does not fit its shape")
    blocks.fields(block, 14, b"FADB")
    page = 1 << page_bits
    at, pages = block + 14, -(-count // page)
    if count > page:
        at += -(-pages // 8) + 4
    else:
        page = count
    for first in range(0, count, page):
        here = min(page, count - first)
        run = blocks.fields(at, here * width)
        at += here * width + 4
        for number in range(first, first + here):
            address = run.address()
            length, mask = (run.number(width - 12), run.number(4)) if filtered else (size, 0)
            if address is not None:
                yield number, Chunk(blocks.base + address, length, mask)
