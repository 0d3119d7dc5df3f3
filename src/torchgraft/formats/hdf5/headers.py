"""Object headers: the messages that say what a group or a dataset is."""

from __future__ import annotations

import struct
from typing import NamedTuple

from torchgraft.formats.hdf5.blocks import Blocks, Fields

__all__ = ["ATTRIBUTE", "Message", "read_header"]

DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, SYMBOLS, ATTRIBUTE_INFO = (
    0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x0B, 0x0C, 0x11, 0x15,
)  # fmt: skip
_NOTHING, _CONTINUATION = 0x00, 0x10
_OLD_PREFIX = struct.Struct("<HHII4x")
_OLD = struct.Struct("<HHB3x")
_NEW = struct.Struct("<BHB")
_SHARED = 0x02
_WORK = 12
"""What a message costs beside its bytes: a file of nothing but empty ones is soon refused."""


class Message(NamedTuple):
    """A message of an object header.

    Attributes:
        kind: What it is about; one of this module's numbers.
        shared: Its data is only a reference to where the message really is.
        data: The rest.
    """

    kind: int
    shared: bool
    data: bytes


def read_header(blocks: Blocks, address: int) -> list[Message]:
    """The messages of the object whose header is at an address."""
    start = blocks.read(address, 6)
    if start[:4] == b"OHDR":
        return _read_new(blocks, address)
    if start[0] != 1:
        raise blocks.corrupt(f"no object header is at {address}")
    _, left, _, length = _OLD_PREFIX.unpack(blocks.read(address, _OLD_PREFIX.size))
    spans = [(address + 16, length)]
    messages: list[Message] = []
    seen: set[int] = set()
    for place, length in spans:  # grows while it is walked
        if place in seen:
            raise blocks.unsafe("its header continues in itself")
        seen.add(place)
        block = blocks.read(place, length)
        at, counted = 0, left
        while left and at + 8 <= length:
            kind, size, flags = _OLD.unpack_from(block, at)
            at += 8 + size
            left -= 1
            if at > length:
                raise blocks.shorter()
            if kind != _NOTHING:
                _add(messages, spans, Message(kind, bool(flags & _SHARED), block[at - size : at]), blocks)
        blocks.spend(_WORK * (counted - left))
    return messages


def _read_new(blocks: Blocks, address: int) -> list[Message]:
    fields = blocks.fields(address, 6, b"OHDR")
    version, flags = fields.number(1), fields.number(1)
    if version != 2:
        raise blocks.unsupported(f"it has an object header of version {version}")
    skipped = (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(blocks.read(address + 6 + skipped, width), "little")
    extra = 2 if flags & 0x04 else 0
    # A span ends with a checksum; all but the first begin with a signature.
    spans = [(address + 6 + skipped + width, length)]
    messages: list[Message] = []
    seen: set[int] = set()
    for index, (place, size) in enumerate(spans):
        if place in seen:
            raise blocks.unsafe("its header continues in itself")
        seen.add(place)
        if index:
            blocks.verify(place, max(size - 4, 0))
        else:
            blocks.verify(address, place + size - address)
        block = blocks.fields(place, size) if not index else blocks.fields(place, max(size - 4, 0), b"OCHK")
        data, at, counted = block.data, block.at, 0
        while at + 4 + extra <= len(data):
            kind, length, bits = _NEW.unpack_from(data, at)
            at += 4 + extra + length
            if at > len(data):
                raise blocks.shorter()
            counted += 1
            if kind != _NOTHING:
                _add(messages, spans, Message(kind, bool(bits & _SHARED), data[at - length : at]), blocks)
        blocks.spend(_WORK * counted)
    return messages


def _add(messages: list[Message], spans: list[tuple[int, int]], message: Message, blocks: Blocks) -> None:
    messages.append(message)
    if message.kind == _CONTINUATION:
        fields = Fields(blocks, message.data)
        address = fields.address()
        if address is None:
            raise blocks.corrupt("its header continues nowhere")
        spans.append((address, fields.size()))
