"""Reads a GGUF header from front to back: numbers, texts and typed values of either byte order."""

from __future__ import annotations

import struct

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.window import Window
from torchgraft.storage.byte_file import ByteFile

__all__ = ["Cursor"]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_NAMES = {
    0: "uint8", 1: "int8", 2: "uint16", 3: "int16", 4: "uint32", 5: "int32", 6: "float32", 7: "bool",
    8: "text", 9: "array", 10: "uint64", 11: "int64", 12: "float64",
}  # fmt: skip
_TEXT, _ARRAY, _BOOL = 8, 9, 7
_MAX_NAME = 1 << 16
_MAX_TEXT = 1 << 16  # of a value that is shown; a longer one is cut
_MAX_SHOWN_TEXT = 1 << 26  # of all of them together
_MAX_TEXTS = 1 << 23  # in arrays, together: eight million; vocabularies have a quarter of one
_MAX_VALUES = 500_000  # that are taken one by one; a long list is passed over in one go
_SHOWN = 64  # values of an array that are shown; a longer one is counted
_SOME = 8
_MAX_DEPTH = 4


class Cursor:
    """A place in a header that moves on as values are read.

    Args:
        file: The file.
        order: `"<"` or `">"`.

    Attributes:
        at: The place.
    """

    def __init__(self, file: ByteFile, order: str) -> None:
        self.at = 0
        self._file = file
        self._window = Window(file)
        self._structs = {code: struct.Struct(order + code) for code in {*_SCALARS.values(), "I", "Q"}}
        self._texts_left = _MAX_TEXTS
        self._values_left = _MAX_VALUES
        self._shown_left = _MAX_SHOWN_TEXT

    @property
    def left(self) -> int:
        """Bytes that are left in the file."""
        return self._file.size - self.at

    def number(self, code: str, what: str) -> int:
        """A whole number; the code is that of `struct`."""
        return int(self._scalar(code, what))  # type: ignore[call-overload, no-any-return]

    def name(self, what: str) -> str:
        """A name: a text that is not long, in UTF-8."""
        length = self.number("Q", what)
        if length > _MAX_NAME:
            raise self.damaged(f"{what} is said to be {length} bytes long")
        try:
            return self._raw(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged(f"{what} at {self.at - length} is not UTF-8") from error

    def value(self, key: str) -> object:
        """A type and a value of that type: a number, a text, a list, or how many values a long list has."""
        return self._typed(self.number("I", key), key, 0)

    def damaged(self, what: str) -> CorruptCheckpointError:
        """An error that says what is wrong."""
        return CorruptCheckpointError(
            what, where=self._file.name, hint="the file may be truncated: download it again"
        )

    def _scalar(self, code: str, what: str) -> object:
        packed = self._structs[code]
        buffer, here = self._window.at(self.at, packed.size)
        if here + packed.size > len(buffer):
            raise self.damaged(f"it ends within {what}")
        self.at += packed.size
        if code == "?" and buffer[here] > 1:
            raise self.damaged(f"{what} is neither true nor false")
        return packed.unpack_from(buffer, here)[0]

    def _raw(self, length: int, what: str) -> bytes:
        if length > self.left:
            raise self.damaged(f"{what} is said to take {length} bytes, and {self.left} are left")
        buffer, here = self._window.at(self.at, length)
        self.at += length
        return buffer[here : here + length]

    def _typed(self, kind: int, key: str, depth: int) -> object:
        self._values_left -= 1
        if self._values_left < 0:
            raise UnsafeCheckpointError(
                f"its metadata has more than {_MAX_VALUES:,} values", where=self._file.name
            )
        if kind == _TEXT:
            return self._text(key)
        if kind == _ARRAY:
            return self._array(key, depth + 1)
        if kind not in _SCALARS:
            raise self.damaged(f"{key} is of type {kind}, which is not known")
        return self._scalar(_SCALARS[kind], key)

    def _text(self, key: str) -> str:
        length = self.number("Q", key)
        if length > self.left:
            raise self.damaged(f"{key} is said to take {length} bytes, and {self.left} are left")
        shown = min(length, _MAX_TEXT)
        self._shown_left -= shown
        if self._shown_left < 0:
            raise UnsafeCheckpointError(
                f"its texts take more than {_MAX_SHOWN_TEXT >> 20} MiB", where=self._file.name
            )
        text = self._raw(shown, key).decode("utf-8", "replace")
        self.at += length - shown
        return text if shown == length else text + "…"

    def _array(self, key: str, depth: int) -> object:
        if depth > _MAX_DEPTH:
            raise UnsafeCheckpointError(
                f"{key}: lists are nested over {_MAX_DEPTH} deep", where=self._file.name
            )
        kind = self.number("I", key)
        count = self.number("Q", key)
        if kind not in _NAMES:
            raise self.damaged(f"{key} is a list of type {kind}, which is not known")
        scalar = _SCALARS.get(kind)
        width = self._structs[scalar].size if scalar else 12 if kind == _ARRAY else 8
        if count * width > self.left:
            raise self.damaged(f"{key} is said to have {count} values, and {self.left} bytes are left")
        if not scalar:
            self._texts_left -= count
            if self._texts_left < 0:
                raise UnsafeCheckpointError(
                    f"its lists have more than {_MAX_TEXTS:,} texts", where=self._file.name
                )
        shown = [self._typed(kind, key, depth) for _ in range(count if count <= _SHOWN else _SOME)]
        rest = count - len(shown)
        if scalar:
            self.at += rest * width
        elif kind == _TEXT:
            self._skip_texts(rest, key)
        else:
            for _ in range(rest):
                self._typed(kind, key, depth)
        return shown if not rest else {"type": _NAMES[kind], "count": count, "first": shown}

    def _skip_texts(self, count: int, key: str) -> None:
        """Pass over texts: a vocabulary has hundreds of thousands, so this is one plain loop."""
        read = self._structs["Q"].unpack_from
        size, at = self._file.size, self.at
        buffer, base = b"", at
        for _ in range(count):
            here = at - base
            if here + 8 > len(buffer):
                if at + 8 > size:
                    raise self.damaged(f"it ends within {key}")
                buffer, here = self._window.at(at, 8)
                base = at - here
            at += 8 + read(buffer, here)[0]
        if at > size:
            raise self.damaged(f"it ends within {key}")
        self.at = at
