"""Heaps: where names, long texts, and the links and attributes of large groups are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from torchgraft.formats.hdf5.blocks import Blocks, Fields

__all__ = ["FractalHeap", "GlobalHeap", "read_local_heap"]


def read_local_heap(blocks: Blocks, address: int) -> bytes:
    """The names of an old group's members, each ended by a zero byte."""
    fields = blocks.fields(address, 32, b"HEAP")
    fields.take(4)
    size = fields.size()
    fields.size()
    segment = fields.address()
    if segment is None:
        raise blocks.corrupt("its names are missing")
    return blocks.read(segment, size)


class GlobalHeap:
    """Texts of any length, in collections all over the file."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._collections: dict[int, dict[int, tuple[int, int]]] = {}

    def get(self, address: int, index: int, length: int) -> bytes:
        """The first bytes of an object."""
        collection = self._collections.get(address)
        if collection is None:
            collection = self._collections[address] = self._index(address)
        place, size = collection.get(index, (0, -1))
        if length > size:
            raise self._blocks.corrupt("a text is not where it should be")
        return self._blocks.read(place, length)

    def _index(self, address: int) -> dict[int, tuple[int, int]]:
        """Where its objects are. Only their heads are read: the objects may be long."""
        fields = self._blocks.fields(address, 16, b"GCOL")
        fields.take(4)
        at, end = address + 16, address + fields.size()
        found: dict[int, tuple[int, int]] = {}
        while at + 16 <= end:
            head = self._blocks.fields(at, 16)
            index = head.number(2)
            head.take(6)
            size = head.size()
            if not index:
                break  # what follows is free
            found[index] = (at + 16, size)
            at += 16 + -(-size // 8) * 8
        return found


@dataclass(frozen=True, slots=True)
class FractalHeap:
    """Links or attributes of a large group, in blocks that double in size row by row.

    Attributes:
        blocks: The file.
        width: Blocks in a row.
        start: Size of the blocks in the first two rows.
        direct: Size of the largest block that holds objects; larger ones hold tables of blocks.
        offset_size: Bytes an offset takes.
        length_size: Bytes a length takes.
        root: Address of the first block or table.
        rows: Rows of the first table; 0 for a block.
        summed: Whether blocks of objects have checksums; tables always have.
    """

    blocks: Blocks
    width: int
    start: int
    direct: int
    offset_size: int
    length_size: int
    root: int
    rows: int
    summed: bool
    _verified: set[int] = field(default_factory=set, repr=False)

    @classmethod
    def read(cls, blocks: Blocks, address: int) -> FractalHeap:
        """The heap whose header is at an address."""
        fields = blocks.fields(address, 142, b"FRHP")
        fields.take(3)
        filtered, flags = fields.number(2), fields.number(1)
        largest = fields.number(4)
        fields.take(96)
        width, start, direct = fields.number(2), fields.size(), fields.size()
        bits = fields.number(2)
        fields.take(2)
        root, rows = fields.address(), fields.number(2)
        if filtered:
            raise blocks.unsupported("its list of members is compressed")
        blocks.verify(address, 142)
        sizes = (width, start, direct)
        if any(size <= 0 or size & size - 1 for size in sizes) or start > direct or bits > 64 or rows > 64:
            raise blocks.corrupt("the heap of its members is damaged")
        if root is None:
            raise blocks.corrupt("the heap of its members is empty")
        length_size = min((direct.bit_length() + 6) // 8, (max(largest, 1).bit_length() - 1) // 8 + 1)
        return cls(blocks, width, start, direct, (bits + 7) // 8, length_size, root, rows, bool(flags & 2))

    def offset(self, identity: bytes) -> int:
        """Where in the heap an object is: later than those that were added before."""
        return int.from_bytes(identity[1 : 1 + self.offset_size], "little")

    def get(self, identity: bytes) -> bytes:
        """The object of an identity, which says where it is and how long."""
        fields = Fields(self.blocks, identity)
        kind = fields.number(1) >> 4 & 3
        if kind == 2:
            return fields.take((identity[0] & 15) + 1)
        if kind:
            raise self.blocks.unsupported("one of its members has a huge description")
        offset, length = fields.number(self.offset_size), fields.number(self.length_size)
        address, rows, size = self.root, self.rows, self.start
        while rows:
            self._verify(address, 13 + self.offset_size + 8 * rows * self.width)
            row, size = 0, self.start
            while row < rows and offset >= size * self.width:
                offset -= size * self.width
                row, size = row + 1, size * 2 if row else size
            if row == rows:
                raise self.blocks.corrupt("one of its members lies outside of their heap")
            slot = row * self.width + offset // size
            offset %= size
            pointer = self.blocks.fields(address + 13 + self.offset_size + 8 * slot, 8).address()
            if pointer is None:
                raise self.blocks.corrupt("a block of its members is missing")
            address = pointer
            if size <= self.direct:
                break
            rows = size.bit_length() - (self.start * self.width).bit_length() + 1
        if self.summed:
            self._verify(address, size, without=13 + self.offset_size)
        return self.blocks.read(address + offset, length)

    def _verify(self, address: int, length: int, *, without: int | None = None) -> None:
        """Each block once; objects that share it are read one by one."""
        if address not in self._verified:
            self.blocks.verify(address, length, without=without)
            self._verified.add(address)
