"""Entries of a list of chunks, which lie in runs and say where each chunk is."""

from __future__ import annotations

from dataclasses import dataclass, field

from torchgraft.formats.hdf5.blocks import Blocks

__all__ = ["MAX_PAGE_BITS", "PREFIX", "Chunk", "Runs", "is_set"]

PREFIX = 14
"""Bytes at the start of a block of entries: signature, version, what it lists, the address of its header."""

MAX_PAGE_BITS = 32
"""Of the number of entries on a page; with more, no file would have a page."""


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


@dataclass(slots=True)
class Runs:
    """Entries that lie in runs, each of which is read once."""

    blocks: Blocks
    width: int
    size: int
    filtered: bool
    known: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.width != 8 and not (self.filtered and 12 < self.width <= 20):
            raise self.blocks.corrupt("its list of chunks is damaged")

    def entry(self, at: int, count: int, place: int, *, prefix: int = 0) -> Chunk | None:
        """An entry of a run of so many; `None` where no chunk was written.

        A checksum follows the run; it is also of so many bytes before it.
        """
        run = self.known.get(at)
        if run is None:
            self.blocks.verify(at - prefix, prefix + count * self.width)
            run = self.known[at] = self.blocks.read(at, count * self.width)
        return self.decoded(run[place * self.width : (place + 1) * self.width])

    def decoded(self, raw: bytes) -> Chunk | None:
        """What an entry says."""
        address = int.from_bytes(raw[:8], "little")
        if address == (1 << 64) - 1:
            return None
        if not self.filtered or self.width == 8:
            return Chunk(self.blocks.base + address, self.size, 0)
        length, mask = raw[8 : self.width - 4], raw[self.width - 4 :]
        return Chunk(
            self.blocks.base + address, int.from_bytes(length, "little"), int.from_bytes(mask, "little")
        )


def is_set(bitmap: bytes, number: int) -> bool:
    """A bit, the highest of a byte first; what is beyond the bitmap is not set."""
    return number // 8 < len(bitmap) and bool(bitmap[number // 8] & (0x80 >> number % 8))
