"""Attributes: texts and numbers that are attached to a group or a dataset."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.btrees import records
from torchgraft.formats.hdf5.datatypes import Datatype, read_dataspace, read_datatype
from torchgraft.formats.hdf5.headers import ATTRIBUTE, ATTRIBUTE_INFO, DATASPACE, DATATYPE, Message
from torchgraft.formats.hdf5.heaps import FractalHeap, GlobalHeap

__all__ = ["read_attributes"]

_BY_NAME, _BY_ORDER = 8, 9
_CODES = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I",
    "uint64": "Q", "float16": "e", "float32": "f", "float64": "d", "bool": "?",
}  # fmt: skip


def read_attributes(blocks: Blocks, header: Sequence[Message], heap: GlobalHeap) -> dict[str, object]:
    """Texts, numbers, and lists of them, by name; what is neither is left out."""
    found: dict[str, object] = {}
    for message in _messages(blocks, header):
        if message.shared:
            raise blocks.unsupported("one of its attributes is kept elsewhere")
        name, value = _parse(blocks, message.data, heap)
        if name in found:
            raise blocks.corrupt(f"it has two attributes {name[:100]!r}")
        if value is not None:
            found[name] = value
    return found


def _messages(blocks: Blocks, header: Sequence[Message]) -> Iterator[Message]:
    for message in header:
        if message.kind == ATTRIBUTE:
            yield message
        elif message.kind == ATTRIBUTE_INFO:
            fields = Fields(blocks, message.data)
            fields.take(1)
            flags = fields.number(1)
            fields.take(2 if flags & 1 else 0)
            heap, by_name = fields.address(), fields.address()
            by_order = fields.address() if flags & 2 else None
            tree = by_order if by_order is not None else by_name
            if heap is None or tree is None:
                continue
            kept = FractalHeap.read(blocks, heap)
            for record in records(blocks, tree, (_BY_NAME, _BY_ORDER)):
                identity, bits = record.take(8), record.number(1)
                yield Message(ATTRIBUTE, bool(bits & 2), kept.get(identity))


def _parse(blocks: Blocks, data: bytes, heap: GlobalHeap) -> tuple[str, object]:
    fields = Fields(blocks, data)
    version, flags = fields.number(1), fields.number(1)
    if version not in (1, 2, 3):
        raise blocks.corrupt(f"it has an attribute of version {version}")
    sizes = [fields.number(2) for _ in range(3)]
    fields.take(1 if version == 3 else 0)
    parts = []
    for size in sizes:
        parts.append(fields.take(size))
        fields.take(-size % 8 if version == 1 else 0)
    name = parts[0].rstrip(b"\0").decode("utf-8", "backslashreplace")
    shared = flags if version > 1 else 0
    kind = read_datatype(blocks, Message(DATATYPE, bool(shared & 1), parts[1]))
    shape = read_dataspace(blocks, Message(DATASPACE, bool(shared & 2), parts[2]))
    if shape is None or not (kind.text or kind.dtype in _CODES):
        return name, None
    count = math.prod(shape)
    if kind.size * count > fields.left or not kind.size:
        raise blocks.corrupt(f"attribute {name[:100]!r} has fewer bytes than it should have")
    values = _values(fields, kind, count, heap)
    return name, values if shape else values[0]


def _values(fields: Fields, kind: Datatype, count: int, heap: GlobalHeap) -> list[object]:
    if not kind.text:
        code = f"{'>' if kind.big_endian else '<'}{count}{_CODES[kind.dtype]}"
        return list(struct.unpack(code, fields.take(kind.size * count)))
    if kind.text == "fixed":
        return [_text(fields.take(kind.size)) for _ in range(count)]
    texts: list[object] = []
    for _ in range(count):
        length, address, index = fields.number(4), fields.address(), fields.number(4)
        # The null text is stored without an address, by some writers as address 0.
        texts.append(_text(heap.get(address, index, length)) if address and length else "")
    return texts


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", "backslashreplace")
