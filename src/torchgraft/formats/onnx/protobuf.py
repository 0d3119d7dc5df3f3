"""Walks a Protocol Buffers message in place: its fields one by one, none of them copied.

The wire format is documented at protobuf.dev/programming-guides/encoding. A message is a run of fields, each
a number and a wire type in one varint, then a value; what a number means is for the caller to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.window import Window
from torchgraft.storage.byte_file import ByteFile

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "Field", "Message", "varint"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}
_MAX_FIELDS = 2_500_000
_MESSAGE = 4  # a message counts as so many fields: it takes as long
_MAX_TEXT = 1 << 16


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: Which one it is.
        wire: Its wire type.
        value: The number that a varint is; 0 for the other types.
        start: Where in the file its value begins, after a length.
        end: Where its value ends.
    """

    number: int
    wire: int
    value: int
    start: int
    end: int

    @property
    def signed(self) -> int:
        """A varint as `int64` and `int32` mean it."""
        return self.value - (1 << 64) if self.value >> 63 else self.value


class Message:
    """Messages in a file.

    Args:
        file: The file.
    """

    def __init__(self, file: ByteFile) -> None:
        self.file = file
        self._window = Window(file)
        self._left = _MAX_FIELDS

    def fields(self, start: int, end: int, where: str) -> Iterator[Field]:
        """The fields of the message that lies there, in its order.

        Args:
            start: Where it begins.
            end: Where it ends; within the file.
            where: The file and what the message is, for messages.

        Raises:
            CorruptCheckpointError: A field is damaged or reaches beyond the message.
            UnsafeCheckpointError: All messages walked so far have more fields than any model.
        """
        at = start
        self._left -= _MESSAGE
        buffer, base, sure = (
            b"",
            0,
            0,
        )  # up to `sure` a tag and a length or value, 20 bytes at most, are there
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise UnsafeCheckpointError(f"it has more than {_MAX_FIELDS:,} parts", where=where)
            if not base <= at < sure:
                buffer, here = self._window.at(at, 20)
                base = at - here
                sure = max(base + len(buffer) - 20, at + 1)
            tag, value_at = varint(buffer, at - base)
            wire = tag & 7
            value = 0
            if wire == VARINT:
                value, after = varint(buffer, value_at)
                first, at = base + value_at, base + after
            elif wire == BYTES:
                length, after = varint(buffer, value_at)
                first = base + after
                at = first + length
            else:
                after = value_at
                first = base + value_at
                at = first + _WIDTH.get(wire, end)
            if value_at < 0 or after < 0 or at > end or not tag >> 3:
                raise _damaged(first, where)
            yield Field(tag >> 3, wire, value, first, at)

    def text(self, field: Field, where: str) -> str:
        """A field that holds a text; one of many thousand characters is cut."""
        self.expect(field, BYTES, where)
        cut = field.end - field.start > _MAX_TEXT
        raw = self.file.data[field.start : field.start + _MAX_TEXT if cut else field.end]
        try:
            text = raw.decode("utf-8", "ignore" if cut else "strict")
        except UnicodeDecodeError as error:
            raise CorruptCheckpointError(f"a text at {field.start} is not UTF-8", where=where) from error
        return text + "…" if cut else text

    @staticmethod
    def expect(field: Field, wire: int, where: str) -> None:
        """Refuse a field of another wire type.

        Raises:
            CorruptCheckpointError: It is of another.
        """
        if field.wire != wire:
            raise CorruptCheckpointError(
                f"field {field.number} at {field.start} is of wire type {field.wire}, not {wire}", where=where
            )


def varint(buffer: bytes, at: int) -> tuple[int, int]:
    """The number that begins there and where it ends: before 0 if it doesn't end, or is over 64 bits."""
    if at < len(buffer) and (first := buffer[at]) < 0x80:
        return first, at + 1
    number = shift = 0
    for place in range(at, min(at + 10, len(buffer))):
        byte = buffer[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number, place + 1) if number < 1 << 64 else (0, -1)
        shift += 7
    return 0, -1


def _damaged(at: int, where: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"what stands at {at} is damaged or reaches beyond the part it belongs to",
        where=where,
        hint="the file may be truncated: download or save it again",
    )
