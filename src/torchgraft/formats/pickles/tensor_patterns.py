"""What `torch.save` writes for an entry of a state dict, as regular expressions over the pickle's bytes."""

from __future__ import annotations

import mmap
import re
from functools import cache
from typing import NamedTuple

__all__ = ["Common", "find_common", "read_number", "read_sizes"]

_NUMBER = rb"(?:K.|M..|J....)"
_GET = rb"(?:h.|j....)"
_SIZES = rb"(\)|" + _NUMBER + rb"{1,3}[\x85-\x87]|\(" + _NUMBER + rb"{4,64}t)"
_ANY = b"(" + _GET + b")"
_WIDTHS = {0x4B: 1, 0x4D: 2, 0x4A: 4}


class Common(NamedTuple):
    """How a pickle refers to what its tensors have in common: opcodes that get it from the memo.

    Attributes:
        rebuild: The function that makes a tensor.
        word: The word "storage".
        device: The storages' device.
        hooks: The class of the empty dict of hooks.
        memoize: Whether things are put aside under the next number (MEMOIZE) and not under a given one.
    """

    rebuild: bytes
    word: bytes
    device: bytes
    hooks: bytes
    memoize: bool

    def pattern(self) -> re.Pattern[bytes]:
        """From what puts a tensor aside to what makes the next one; or nothing, where that is not so.

        Nothing is put under numbers below 256: what is kept there stays the same. Its groups: the end of a
        batch; the name's length, the name; the storage's class, its key's length, its key, its elements; the
        tensor's offset, shape and stride.
        """
        return self._compiled(rb"\x94" if self.memoize else rb"r(?!.\0\0\0)....", rb"|")

    def pattern_of_puts(self) -> re.Pattern[bytes]:
        """The same, with a group for each number too that something is put aside under."""
        return self._compiled(rb"(\x94)" if self.memoize else rb"r(....)", rb"|")

    def _compiled(self, put: bytes, end: bytes) -> re.Pattern[bytes]:
        gets = map(re.escape, self[:4])
        return re.compile(_entry(put, rb"\x8c" if self.memoize else b"X", *gets) + end, re.DOTALL)


def _entry(put: bytes, text: bytes, rebuild: bytes, word: bytes, device: bytes, hooks: bytes) -> bytes:
    length = rb"(.)" if text == rb"\x8c" else rb"(.)\0\0\0"
    sizes = _SIZES + rb"(?:(?<=\))|" + put + rb")"  # an empty tuple is not put aside
    return (
        put + rb"(u\(|)" + text + length + rb"([!-~]{1,255})" + put + rebuild
        + rb"\(\(" + word + _ANY + text + length + rb"([0-9]{1,18})" + put + device
        + b"(" + _NUMBER + b")N?t" + put + b"Q(" + _NUMBER + b")" + sizes + sizes
        + rb"[\x88\x89]" + hooks + rb"\)R" + put + b"t" + put + b"R"
    )  # fmt: skip


@cache
def _start(memoize: bool) -> re.Pattern[bytes]:
    put, text = (rb"\x94", rb"\x8c") if memoize else (rb"(?:q.|r....)", b"X")
    return re.compile(_entry(put, text, *[_ANY] * 4), re.DOTALL)


def find_common(data: bytes | mmap.mmap, at: int) -> Common | None:
    """How an entry that begins here, whatever its numbers, refers to what it shares; `None`: it is none."""
    memoize = data[at] == 0x94
    found = _start(memoize).match(data, at)
    return found and Common(found[4], found[5], found[9], found[14], memoize)


def read_number(code: bytes) -> int:
    """The number that BININT1, BININT2 or BININT pushes."""
    return int.from_bytes(code[1:], "little", signed=code[0] == 0x4A)


def read_sizes(code: bytes) -> tuple[int, ...]:
    """The tuple of numbers that a few opcodes make."""
    sizes = []
    at = 1 if code[0] == 0x28 else 0
    while width := _WIDTHS.get(code[at]):
        sizes.append(read_number(code[at : at + 1 + width]))
        at += 1 + width
    return tuple(sizes)
