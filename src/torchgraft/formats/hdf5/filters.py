"""Filters: how the chunks of a dataset are packed, and unpacking them. Only filters named here run."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.headers import Message

__all__ = ["MAX_RATIO", "Filter", "read_filters", "unpack"]

MAX_RATIO = 1032  # deflate can't do better
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_NAMES = {4: "szip", 5: "nbit", 6: "scale-offset", 307: "bzip2", 32000: "lzf", 32001: "blosc", 32004: "lz4",
          32008: "bitshuffle", 32013: "zfp", 32015: "zstd", 32026: "blosc2"}  # fmt: skip
_MAX_FILTERS = 32  # the format's own limit


@dataclass(frozen=True, slots=True)
class Filter:
    """A step of packing.

    Attributes:
        kind: Its registered number.
        width: Bytes of an element, for the shuffle filter.
    """

    kind: int
    width: int = 1

    @property
    def deflates(self) -> bool:
        """Whether it makes data smaller."""
        return self.kind == _DEFLATE


def read_filters(blocks: Blocks, message: Message) -> tuple[Filter, ...]:
    """The filters that a message names, in the order of packing."""
    if message.shared:
        raise blocks.unsupported("its list of filters is kept elsewhere")
    fields = Fields(blocks, message.data)
    version, count = fields.number(1), fields.number(1)
    if version not in (1, 2) or count > _MAX_FILTERS:
        raise blocks.corrupt("its list of filters is damaged")
    fields.take(6 if version == 1 else 0)
    found = []
    for _ in range(count):
        kind = fields.number(2)
        name = fields.number(2) if version == 1 or kind >= 256 else 0
        fields.take(2)
        values = fields.number(2)
        fields.take(-(-name // 8) * 8 if version == 1 else name)
        numbers = [fields.number(4) for _ in range(values)]
        fields.take(4 if version == 1 and values % 2 else 0)
        if kind not in (_DEFLATE, _SHUFFLE, _FLETCHER):
            raise blocks.unsupported(f"it is packed with {_NAMES.get(kind, f'filter {kind}')}")
        width = numbers[0] if kind == _SHUFFLE and numbers else 1
        if not 0 < width <= 1 << 16:
            raise blocks.corrupt("its list of filters is damaged")
        found.append(Filter(kind, width))
    if sum(one.deflates for one in found) > 1:
        raise blocks.unsafe("it is deflated more than once")
    return tuple(found)


def unpack(raw: memoryview | bytes, filters: tuple[Filter, ...], mask: int, size: int) -> bytearray:
    """A chunk as it was before it was packed.

    Args:
        raw: The stored bytes.
        filters: The filters in the order of packing.
        mask: A bit for each filter that was left out for this chunk.
        size: How many bytes must come out.

    Raises:
        ValueError: They are not what was packed.
    """
    data = bytearray(raw) if not filters else raw
    for index in reversed(range(len(filters))):
        if mask >> index & 1:
            continue
        step = filters[index]
        if step.kind == _DEFLATE:
            # Room for the checksum that may have been added before deflating.
            data = _inflate(data, size + 4)
        elif step.kind == _FLETCHER:
            data = _checked(data)
        else:
            data = _unshuffled(data, step.width)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes came out instead of {size}")
    return data if isinstance(data, bytearray) else bytearray(data)


def _inflate(data: memoryview | bytes | bytearray, most: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(f"it can't be inflated: {error}") from error
    if not inflater.eof:
        raise ValueError("it is truncated, or inflates to more than it should")
    return inflated


def _checked(data: memoryview | bytes | bytearray) -> bytes:
    """The data without the Fletcher checksum behind it, over big-endian numbers of 16 bits."""
    import numpy as np

    if len(data) < 4:
        raise ValueError("its checksum is missing")
    body, stored = bytes(data[:-4]), int.from_bytes(data[-4:], "little")
    words = np.frombuffer(body + bytes(len(body) % 2), dtype=">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(65535)
    sums = int(words.sum()) % 65535, int((words * weights).sum()) % 65535
    if sums != ((stored & 0xFFFF) % 65535, (stored >> 16) % 65535):
        raise ValueError("it is not what its checksum says")
    return body


def _unshuffled(data: memoryview | bytes | bytearray, width: int) -> bytearray:
    """All first bytes, all second bytes, … of the elements become elements again; a rest stays at the end."""
    whole = bytearray(data)
    count = len(whole) // width
    out = bytearray(whole)
    for place in range(width):
        out[place : count * width : width] = whole[place * count : (place + 1) * count]
    return out
