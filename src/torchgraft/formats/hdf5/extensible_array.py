"""The array that lists the chunks of a dataset with one dimension that may grow without end.

The blocks are described in the HDF5 File Format Specification, VII.D.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torchgraft.formats.hdf5.blocks import Blocks
from torchgraft.formats.hdf5.chunk_runs import MAX_PAGE_BITS, PREFIX, Chunk, Runs, is_set

__all__ = ["extensible_array"]


def extensible_array(
    blocks: Blocks, header: int | None, size: int, places: Iterable[int], *, filtered: bool
) -> Iterator[Chunk | None]:
    """Chunks by an extensible array: the first entries in its index block, further ones in data blocks, which
    get larger and are found through that or through secondary blocks.

    Args:
        blocks: The file.
        header: Where the array's header is.
        size: Bytes a chunk takes that is not packed.
        places: Which are wanted.
        filtered: Whether an entry says how large the packed chunk is.
    """
    array = None if header is None else _Extensible.read(blocks, header, size, filtered=filtered)
    for place in places:
        yield array.entry(place) if array is not None else None


@dataclass(slots=True)
class _Extensible:
    """An extensible array.

    Attributes:
        runs: Reads its entries.
        first: The entries in the index block.
        least: Entries of the smallest data block, a power of two.
        direct: How many sizes of data blocks the index block itself lists.
        sizes: How many there can be.
        page: Entries of a page; larger data blocks consist of such.
        offset_size: Bytes that the place of a block in the array takes.
        data_blocks: Addresses in the index block, of data blocks.
        secondary: The same, of secondary blocks.
    """

    runs: Runs
    first: list[Chunk | None]
    least: int
    direct: int
    sizes: int
    page: int
    offset_size: int
    data_blocks: list[int | None]
    secondary: list[int | None]
    opened: dict[int, tuple[bytes, list[int | None]]] = field(default_factory=dict)

    @classmethod
    def read(cls, blocks: Blocks, header: int, size: int, *, filtered: bool) -> _Extensible | None:
        """The array that has this header; `None` if it is empty."""
        blocks.verify(header, 68)
        fields = blocks.fields(header, 72, b"EAHD")
        fields.take(2)
        width, bits, own, least, pointers, page_bits = (fields.number(1) for _ in range(6))
        fields.take(48)
        index = fields.address()
        powers = all(number and not number & (number - 1) for number in (least, pointers))
        if (
            not powers
            or pointers < 2
            or bits > 64
            or least.bit_length() - 1 > bits
            or page_bits > MAX_PAGE_BITS
        ):
            raise blocks.corrupt("its list of chunks is damaged")
        runs = Runs(blocks, width, size, filtered)
        if index is None:
            return None
        sizes = 1 + bits - (least.bit_length() - 1)
        direct = 2 * (pointers.bit_length() - 1)
        counts = 2 * (pointers - 1), max(sizes - direct, 0)
        length = PREFIX + own * width + 8 * sum(counts)
        blocks.verify(index, length)
        block = blocks.fields(index, length, b"EAIB")
        block.take(PREFIX - 4)
        first = [runs.decoded(block.take(width)) for _ in range(own)]
        tables = [[block.address() for _ in range(count)] for count in counts]
        return cls(runs, first, least, direct, sizes, 1 << page_bits, -(-bits // 8), tables[0], tables[1])

    def entry(self, place: int) -> Chunk | None:
        """The entry at a place; `None` where no chunk was written."""
        if place < len(self.first):
            return self.first[place]
        beyond = place - len(self.first)
        kind = (beyond // self.least + 1).bit_length() - 1
        if kind >= self.sizes:
            raise self.runs.blocks.corrupt("its list of chunks does not fit its shape")
        # There are 2^(kind / 2) data blocks of a kind, each with 2^((kind + 1) / 2) times the least entries.
        count = self.least << ((kind + 1) // 2)
        number, within = divmod(beyond - ((1 << kind) - 1) * self.least, count)
        if kind < self.direct:
            before = sum(1 << (smaller // 2) for smaller in range(kind))
            return self._in_block(self.data_blocks[before + number], count, within, b"", 0)
        found = self._secondary(kind, count)
        if found is None:
            return None
        written, addresses = found
        return self._in_block(addresses[number], count, within, written, number * (count // self.page))

    def _in_block(
        self, address: int | None, count: int, within: int, written: bytes, page_before: int
    ) -> Chunk | None:
        if address is None:
            return None
        prefix = PREFIX + self.offset_size
        paged = count > self.page
        self._check(address, prefix if paged else 0)
        if not paged:
            return self.runs.entry(address + prefix, count, within, prefix=prefix)
        number, place = divmod(within, self.page)
        if not is_set(written, page_before + number):
            return None
        at = address + prefix + 4 + number * (self.page * self.runs.width + 4)
        return self.runs.entry(at, self.page, place)

    def _secondary(self, kind: int, count: int) -> tuple[bytes, list[int | None]] | None:
        """A secondary block: which pages were written, and addresses of data blocks; `None` if it was not."""
        address = self.secondary[kind - self.direct]
        if address is None:
            return None
        found = self.opened.get(address)
        if found is None:
            blocks = 1 << (kind // 2)
            bitmap = blocks * -(-(count // self.page) // 8) if count > self.page else 0
            prefix = PREFIX + self.offset_size
            length = prefix + bitmap + 8 * blocks
            self.runs.blocks.verify(address, length)
            fields = self.runs.blocks.fields(address, length, b"EASB")
            fields.take(prefix - 4)
            written = fields.take(bitmap)
            found = self.opened[address] = (written, [fields.address() for _ in range(blocks)])
        return found

    def _check(self, address: int, length: int) -> None:
        """See that a data block is one, once; and that so many bytes of it are what their checksum says."""
        if address not in self.opened:
            self.runs.blocks.fields(address, PREFIX, b"EADB")
            if length:
                self.runs.blocks.verify(address, length)
            self.opened[address] = b"", []
