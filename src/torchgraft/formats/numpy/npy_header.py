"""The header of a NumPy array: a magic number, a version, a length, and a Python dict written out.

The format is documented in `numpy.lib.format`. The dict is parsed here rather than by Python: it may hold
texts, whole numbers, truth values, and lists, tuples and dicts of them, a few levels deep, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torchgraft.errors import CorruptCheckpointError

__all__ = ["MAGIC", "NpyHeader", "read_header"]

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16  # NumPy itself refuses more than 10,000 bytes
_MAX_DEPTH = 16
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<number>\d{1,20})(?:L(?!\w)|(?!\w))|(?P<word>[A-Za-z]+)"
    r"|(?P<mark>[][(){}:,])|(?P<end>\Z)|(?P<bad>.))",
    re.DOTALL,
)
_WORDS = {"True": True, "False": False, "None": None}
_CLOSING = {"[": "]", "(": ")", "{": "}"}


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a header says.

    Attributes:
        descr: The dtype as `numpy.lib.format` writes it: a text, or a list for a structured one.
        fortran_order: Whether the first dimension is the one whose elements are neighbours.
        shape: The array's shape.
        size: Bytes the header takes; the elements follow.
    """

    descr: object
    fortran_order: bool
    shape: tuple[int, ...]
    size: int


def read_header(read: Callable[[int], bytes], where: str) -> NpyHeader:
    """The header of the array.

    Args:
        read: Gives the first so many bytes of the array, or fewer if there are no more.
        where: The file and the entry, for messages.

    Raises:
        CorruptCheckpointError: It is damaged, or of a version that isn't known.
    """
    start = read(12)
    if len(start) < 12 or not start.startswith(MAGIC):
        raise CorruptCheckpointError("this is no NumPy array: its magic number is missing", where=where)
    version = (start[6], start[7])
    if version not in {(1, 0), (2, 0), (3, 0)}:
        raise CorruptCheckpointError(
            f"NumPy format version {version[0]}.{version[1]} is not known", where=where
        )
    first = 10 if version == (1, 0) else 12
    length = int.from_bytes(start[8:first], "little")
    if length > _MAX_HEADER:
        raise CorruptCheckpointError(
            f"its header is {length} bytes long; the limit is {_MAX_HEADER}", where=where
        )
    raw = read(first + length)[first:]
    try:
        if len(raw) < length:
            raise ValueError(f"only {len(raw)} of {length} bytes are there")
        text = raw.decode("utf-8" if version == (3, 0) else "latin-1")
        return _checked(_parse(text), first + length)
    except ValueError as error:
        raise CorruptCheckpointError(
            f"its header can't be read: {error}", where=where, hint="download or save it again"
        ) from error


def _checked(header: object, size: int) -> NpyHeader:
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("it is not a dict of descr, fortran_order and shape")
    order, shape = header["fortran_order"], header["shape"]
    if type(order) is not bool:
        raise ValueError("fortran_order is neither True nor False")
    if not isinstance(shape, tuple) or not all(type(number) is int for number in shape) or len(shape) > 64:
        raise ValueError("the shape is not a tuple of at most 64 whole numbers")
    return NpyHeader(header["descr"], order, shape, size)


def _parse(text: str) -> object:
    tokens = _tokens(text)
    value = _value(tokens, *next(tokens), 0)
    if next(tokens)[0] != "end":
        raise ValueError("something follows the dict")
    return value


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(text):
        kind = str(found.lastgroup)
        yield kind, found[kind]
    yield "end", ""


def _value(tokens: Iterator[tuple[str, str]], kind: str, token: str, depth: int) -> object:
    """The value that begins with this token."""
    if kind == "text":
        return token[1:-1]
    if kind == "number":
        return int(token)
    if kind == "word" and token in _WORDS:
        return _WORDS[token]
    if kind != "mark" or token not in _CLOSING or depth == _MAX_DEPTH:
        raise ValueError("it ends early" if kind == "end" else f"{token[:40]!r} is out of place")
    return _filled(tokens, token, depth + 1)


def _filled(tokens: Iterator[tuple[str, str]], opened: str, depth: int) -> object:
    """What stands between two brackets, the first of which has been read."""
    closing = _CLOSING[opened]
    values: list[object] = []
    made: dict[object, object] = {}
    kind, token = next(tokens)
    comma = False
    while token != closing or kind != "mark":
        value = _value(tokens, kind, token, depth)
        if opened == "{":
            if not isinstance(value, str) or value in made or next(tokens) != ("mark", ":"):
                raise ValueError("a key is no text, is there twice or has no value")
            made[value] = _value(tokens, *next(tokens), depth)
        else:
            values.append(value)
        kind, token = next(tokens)
        comma = (kind, token) == ("mark", ",")
        if comma:
            kind, token = next(tokens)
        elif (kind, token) != ("mark", closing):
            raise ValueError("a comma or a bracket is missing")
    if opened == "{":
        return made
    if opened == "[":
        return values
    return tuple(values) if comma or len(values) != 1 else values[0]
