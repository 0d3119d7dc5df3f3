"""Arrays that list a dataset's chunks: implicit and fixed ones. An array has a place for every chunk that the
dataset could have when it is as large as it may become.

The blocks are described in the HDF5 File Format Specification, VII.B and VII.C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torchgraft.formats.hdf5.blocks import Blocks
from torchgraft.formats.hdf5.chunk_runs import MAX_PAGE_BITS, PREFIX, Chunk, Runs, is_set

__all__ = ["fixed_array", "implicit_array"]


def implicit_array(
    blocks: Blocks, address: int | None, size: int, places: Iterable[int]
) -> Iterator[Chunk | None]:
    """Chunks that lie one after the other.

    Args:
        blocks: The file.
        address: Where the first one is.
        size: Bytes a chunk takes.
        places: Which are wanted.
    """
    for place in places:
        yield None if address is None else Chunk(blocks.base + address + place * size, size, 0)


def fixed_array(
    blocks: Blocks, header: int | None, size: int, total: int, places: Iterable[int], *, filtered: bool
) -> Iterator[Chunk | None]:
    """Chunks by a fixed array: entries in one run, or in pages of a power of two of them.

    Args:
        blocks: The file.
        header: Where the array's header is.
        size: Bytes a chunk takes that is not packed.
        total: How many entries it must have.
        places: Which are wanted.
        filtered: Whether an entry says how large the packed chunk is.
    """
    if header is None:
        yield from (None for _ in places)
        return
    blocks.verify(header, 24)
    fields = blocks.fields(header, 24, b"FAHD")
    fields.take(2)
    width, page_bits, entries, block = fields.number(1), fields.number(1), fields.size(), fields.address()
    runs = Runs(blocks, width, size, filtered)
    if entries != total or page_bits > MAX_PAGE_BITS:
        raise blocks.corrupt("its list of chunks does not fit its shape")
    if block is None:
        yield from (None for _ in places)
        return
    blocks.fields(block, PREFIX, b"FADB")
    page = 1 << page_bits
    if total <= page:
        yield from (runs.entry(block + PREFIX, total, place, prefix=PREFIX) for place in places)
        return
    pages = -(-total // page)
    written = blocks.read(block + PREFIX, -(-pages // 8))
    blocks.verify(block, PREFIX + len(written))
    start = block + PREFIX + len(written) + 4
    for place in places:
        number, within = divmod(place, page)
        at = start + number * (page * width + 4)
        known = is_set(written, number)
        yield runs.entry(at, min(page, total - number * page), within) if known else None
