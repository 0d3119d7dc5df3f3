"""Records of a zip archive's directory that are written alike: many at a time, as columns of numbers."""

from __future__ import annotations

import re
import sys
from array import array
from typing import NamedTuple

__all__ = ["CENTRAL_SIZE", "AlikeRecords", "column", "next_alike"]

CENTRAL_SIZE = 46
"""Length of a directory record without its name and what follows that."""

_AT_ONCE = 1024
_LEAST = 16
_PLAIN = re.compile(rb"(PK\x01\x02.{42})([!-~]{1,255})(?=PK\x01\x02)|(PK\x01\x02)", re.DOTALL)
"""A record with a short ASCII name that another one follows; or the beginning of one that is otherwise."""
_NAMED_WITH = bytes(range(0x21, 0x7F))


class AlikeRecords(NamedTuple):
    """Records that follow one another, whose names are ASCII without spaces.

    Attributes:
        block: The records, or what they have before their names.
        width: From one to the next in it.
        names: The names, a space between them.
        lengths: How long each is.
        end: Where they end in the directory.
    """

    block: bytes
    width: int
    names: bytes
    lengths: list[int]
    end: int


def next_alike(directory: bytes, at: int) -> AlikeRecords | None:
    """The next few records from `at` on, or nothing where that is none with such a name."""
    width = CENTRAL_SIZE + int.from_bytes(directory[at + 28 : at + 30], "little")
    count = _count_of_width(directory, at, width)
    if count < _LEAST:
        return _of_any_width(directory, at)
    end = at + count * width
    names = b" ".join([directory[name + CENTRAL_SIZE : name + width] for name in range(at, end, width)])
    if names.translate(None, _NAMED_WITH) != b" " * (count - 1):
        return None
    return AlikeRecords(directory[at:end], width, names, [width - CENTRAL_SIZE] * count, end)


def _count_of_width(directory: bytes, at: int, width: int) -> int:
    """How many records of the same length there are from here on: numbered names mostly are as long."""
    count = min(_AT_ONCE, (len(directory) - at) // width) if CENTRAL_SIZE < width <= CENTRAL_SIZE + 255 else 0
    length = (width - CENTRAL_SIZE).to_bytes(2, "little")
    for place, wanted in enumerate(b"PK\x01\x02" + length):
        first = at + place + (24 if place > 3 else 0)
        bytes_there = directory[first : at + count * width : width]
        count = min(count, len(bytes_there) - len(bytes_there.lstrip(bytes((wanted,)))))
    return count


def _of_any_width(directory: bytes, at: int) -> AlikeRecords | None:
    found = _PLAIN.findall(directory, at, at + _AT_ONCE * (CENTRAL_SIZE + 16))
    if not directory.startswith(b"PK\x01\x02", at) or not found or found[0][2]:
        return None
    fixed, names, others = zip(*found, strict=True)
    count = next((number for number, other in enumerate(others) if other), len(others))
    lengths = list(map(len, names[:count]))
    block = b"".join(fixed[:count])
    end = at + len(block) + sum(lengths)
    return AlikeRecords(block, CENTRAL_SIZE, b" ".join(names[:count]), lengths, end)


def column(block: bytes, width: int, at: int, code: str) -> list[int]:
    """The numbers that are `at` so many bytes into records of `width` bytes."""
    numbers = array(code)
    size = numbers.itemsize
    packed = bytearray(len(block) // width * size)
    for byte in range(size):
        packed[byte::size] = block[at + byte :: width]
    numbers.frombytes(bytes(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
