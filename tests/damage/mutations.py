"""Damage as files come by it, and as somebody would do it: the same for the same seed."""

from __future__ import annotations

import random
import re

from damage.honest import Honest

__all__ = ["mutated", "scratched"]

_BYTES = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b".",
    b"R",
    b"b",
    b"(",
    b"\n",
    b"\xff" * 4,
    b"\xff" * 8,
    bytes(8),
]
_NUMBERS = [
    0,
    1,
    2,
    7,
    255,
    1 << 15,
    (1 << 16) - 1,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 40,
    1 << 62,
    (1 << 63) - 1,
    -1,
    -2,
]
_DIGITS = re.compile(rb"-?\d+")
_WORDS = re.compile(rb"[A-Za-z_][A-Za-z_0-9./]{2,}|\d+")
_TEXTS = [
    b"0", b"1", b"-1", b"65535", b"4294967296", b"9223372036854775807", b"99999999999999999999999", b"1e400",
    b"1.5", b"null", b"true", b"NaN", b"[]", b"{}", b'""', b'"../x"', b"[[[[", b"\xff\xfe", b"\\ud800", b"'",
]  # fmt: skip


def mutated(honest: Honest, generator: random.Random) -> dict[str, bytes]:
    """The files after one to five mutations of a part, or of a file that has been packed."""
    if generator.random() < 0.25:
        files = honest.pack(honest.parts)
        name = generator.choice(list(files))
        files[name] = _several(files[name], generator)
        return files
    parts = dict(honest.parts)
    weights = [min(len(parts[name]), 400) + 20 if not name.endswith(honest.dull) else 2 for name in parts]
    name = generator.choices(list(parts), weights)[0]
    if generator.random() < 0.03 and len(parts) > 1:
        _misplace(parts, name, generator)
    else:
        parts[name] = _several(parts[name], generator)
    return honest.pack(parts)


def scratched(honest: Honest, generator: random.Random) -> dict[str, bytes]:
    """The packed files with one byte changed in one that has checksums."""
    files = honest.pack(honest.parts)
    data = bytearray(files[name := generator.choice(honest.checked)])
    data[generator.randrange(len(data))] ^= generator.randrange(1, 256)
    files[name] = bytes(data)
    return files


def _misplace(parts: dict[str, bytes], name: str, generator: random.Random) -> None:
    other = generator.choice(list(parts))
    match generator.randrange(3):
        case 0:
            del parts[name]
        case 1:
            parts[name], parts[other] = parts[other], parts[name]
        case _:
            parts[f"{name}2"] = parts.pop(other)


def _several(data: bytes, generator: random.Random) -> bytes:
    for _ in range(generator.choice([1, 1, 1, 2, 5])):
        data = _one(data, generator) if data else generator.randbytes(3)
    return data


def _place(data: bytes, generator: random.Random) -> int:
    """Where something is written: padding is long and of no interest."""
    for _ in range(8):
        at = generator.randrange(len(data))
        if any(data[max(0, at - 4) : at + 5]):
            break
    return at


def _one(data: bytes, generator: random.Random) -> bytes:
    at = _place(data, generator)
    length = min(generator.choice([1, 2, 4, 8, 16, 64, 300]), len(data))
    kind = generator.randrange(12)
    if kind <= 2:
        new = generator.choice([*_BYTES, generator.randbytes(1), generator.randbytes(2)])
        return data[:at] + new + data[at + len(new) :]
    if kind == 3:
        return data[:at] + bytes([data[at] ^ 1 << generator.randrange(8)]) + data[at + 1 :]
    if kind <= 5:
        return _number(data, at, generator)
    if kind == 6:
        return data[:at] + data[at + length :]
    if kind == 7:
        there = _place(data, generator)
        return data[:there] + data[at : at + length] + data[there:]
    if kind == 8:
        there = _place(data, generator)
        copied = data[at : at + length]
        return data[:there] + copied + data[there + len(copied) :]
    if kind == 9:
        return data[:at] + generator.choice([generator.randbytes(length), bytes(length), b" "]) + data[at:]
    return _text(data, at, generator)


def _number(data: bytes, at: int, generator: random.Random) -> bytes:
    """Another number in place of one of 2 to 8 bytes: a neighbour of it, the file's length or an extreme."""
    width, order = generator.choice([1, 2, 4, 8]), generator.choice(["little", "little", "big"])
    old = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
    near = [old + 1, old - 1, old * 2, old // 2, -old, old + len(data), len(data), len(data) - at, at]
    number = generator.choice([*_NUMBERS, *near])
    new = (number % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    return data[:at] + new + data[at + width :]


def _text(data: bytes, at: int, generator: random.Random) -> bytes:
    """Another number or word in place of one that is written out, or a word of the file itself."""
    pattern = generator.choice([_DIGITS, _WORDS])
    found = pattern.search(data, at) or pattern.search(data)
    if found is None:
        return data[:at] + generator.choice(_TEXTS) + data[at:]
    words = _WORDS.findall(data)
    new = generator.choice([*_TEXTS, generator.choice(words)] if words else _TEXTS)
    return data[: found.start()] + new + data[found.end() :]
