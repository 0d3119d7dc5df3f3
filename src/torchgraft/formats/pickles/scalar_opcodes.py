"""Opcodes that push numbers, text and bytes; sizes are checked before anything is made."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from torchgraft.formats.pickles.machine import Machine
from torchgraft.formats.pickles.opcode_table import number, opcode
from torchgraft.formats.pickles.values import OldText

__all__: list[str] = []

_SET = 10  # a set of one number takes five bytes in a pickle, and hundreds in memory

_MAX_INT_BYTES = 1024
_MAX_DIGITS = 2400


@opcode("\x80")
def _proto(m: Machine, at: int) -> int:
    if m.data[at] > 5:
        raise ValueError(f"protocol {m.data[at]} is not known")
    return at + 1


@opcode("\x95")
def _frame(m: Machine, at: int) -> int:
    if number(m, at, 8) > len(m.data) - at - 8:
        raise IndexError("a frame is longer than the pickle")
    return at + 8


def _constant(code: str, value: object) -> None:
    def handler(m: Machine, at: int) -> int:
        m.stack.append(value)
        return at

    opcode(code)(handler)


def _empty(code: str, make: Callable[[], object]) -> None:
    def handler(m: Machine, at: int) -> int:
        m.stack.append(make())
        return at

    opcode(code)(handler)


_constant("N", None)
_constant("\x88", True)
_empty("]", list)
_empty("}", dict)


@opcode("\x8f")
def _empty_set(m: Machine, at: int) -> int:
    m.budget.spend(_SET, "it holds far more sets than honest files of its size")
    m.stack.append(set())
    return at


def _integer(code: str, width: int, *, signed: bool) -> None:
    def handler(m: Machine, at: int) -> int:
        m.stack.append(number(m, at, width, signed=signed))
        return at + width

    opcode(code)(handler)


_integer("J", 4, signed=True)
_integer("M", 2, signed=False)


def _long(code: str, width: int) -> None:
    def handler(m: Machine, at: int) -> int:
        size = number(m, at, width)
        if size > _MAX_INT_BYTES:
            raise ValueError(f"a whole number of {size} bytes")
        m.stack.append(number(m, at + width, size, signed=True))
        return at + width + size

    opcode(code)(handler)


_long("\x8a", 1)
_long("\x8b", 4)


@opcode("I")
def _int_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    if line in {b"00", b"01"}:
        m.stack.append(line == b"01")
        return after
    return _long_text(m, at)


@opcode("L")
def _long_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    if len(line) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(line)} digits")
    m.stack.append(int(line.rstrip(b"L")))
    return after


@opcode("F")
def _float_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.stack.append(float(line))
    return after


@opcode("G")
def _float(m: Machine, at: int) -> int:
    m.stack.append(struct.unpack(">d", m.take(at, 8))[0])
    return at + 8


def _decode_python2(raw: bytes) -> str:
    """Python 2 had one type for text and bytes; PyTorch reads both as text."""
    if raw.isascii():
        return raw.decode("ascii")
    try:
        text = OldText(raw, "utf-8")
    except UnicodeDecodeError:
        text = OldText(raw, "latin-1")
    text.raw = raw  # the data of an array, maybe: which of the two codes it came from can't be told later
    return text


def _sized(code: str, width: int, convert: Callable[[bytes], object], *, blob: bool = False) -> None:
    def handler(m: Machine, at: int) -> int:
        size = number(m, at, width)
        value: object = m.blob(at + width, size) if blob else None
        m.stack.append(convert(m.take(at + width, size)) if value is None else value)
        return at + width + size

    opcode(code)(handler)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


_sized("\x8c", 1, _text)
_sized("\x8d", 8, _text)
_sized("T", 4, _decode_python2, blob=True)
_sized("U", 1, _decode_python2)
_sized("B", 4, bytes, blob=True)
_sized("C", 1, bytes)
_sized("\x8e", 8, bytes, blob=True)
_sized("\x96", 8, bytes, blob=True)  # a bytearray; nothing here changes it


@opcode("S")
def _string_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    line = line.strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise ValueError("a string without quotes")
    m.stack.append(_decode_python2(_ESCAPE.sub(_unescape, line[1:-1])))
    return after


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code.isdigit() and code[:1] < b"8":
        return bytes([int(code, 8) & 255])
    return _LETTERS.get(code, code if code in b"\\'\"" else found[0])


@opcode("V")
def _unicode_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.stack.append(line.decode("raw-unicode-escape"))
    return after
