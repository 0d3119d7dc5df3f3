"""Datatypes and dataspaces: what the elements of a dataset or an attribute are, and how many."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.headers import Message

__all__ = ["Datatype", "read_dataspace", "read_datatype", "read_limits"]

_MAX_RANK = 32  # the format's own limit
_MAX_SIZE = 1 << 62
_MAX_NESTING = 8
_MOST_KNOWN = 256  # a file has a few datatypes over and over
_FLOATS: dict[
    tuple[int, ...], str
] = {  # bits: size, exponent's place and size, mantissa's place and size, bias
    (16, 10, 5, 0, 10, 15): "float16",
    (16, 7, 8, 0, 7, 127): "bfloat16",
    (32, 23, 8, 0, 23, 127): "float32",
    (64, 52, 11, 0, 52, 1023): "float64",
}
_COMPLEX = {"float16": "complex32", "float32": "complex64", "float64": "complex128"}


@dataclass(frozen=True, slots=True)
class Datatype:
    """What an element is.

    Attributes:
        what: In words.
        size: Bytes it takes.
        dtype: PyTorch's name of it; empty if PyTorch has no such dtype.
        big_endian: Its most significant byte comes first.
        text: It is a text: `"fixed"`, or `"variable"` for one that is kept in the global heap.
    """

    what: str
    size: int
    dtype: str = ""
    big_endian: bool = False
    text: str = ""


def read_datatype(blocks: Blocks, message: Message) -> Datatype:
    """What a datatype message says."""
    if message.shared:
        return Datatype("a named type of the file's own", 0)
    known = blocks.known.get(message.data)
    if isinstance(known, Datatype):
        return known
    read = _parse(Fields(blocks, message.data), 0)
    if len(blocks.known) < _MOST_KNOWN:
        blocks.known[message.data] = read
    return read


def _parse(fields: Fields, depth: int) -> Datatype:
    if depth > _MAX_NESTING:
        raise fields.blocks.unsafe("its datatype is nested too deeply")
    first, bits, size = fields.number(1), fields.number(3), fields.number(4)
    version, kind = first >> 4, first & 15
    if kind == 0:
        offset, precision = fields.number(2), fields.number(2)
        name = f"{'int' if bits & 8 else 'uint'}{8 * size}"
        plain = size in (1, 2, 4, 8) and not offset and precision == 8 * size
        return Datatype(name, size, name if plain else "", bool(bits & 1))
    if kind == 1:
        fields.take(2)
        precision = fields.number(2)
        form = (precision, *(fields.number(1) for _ in range(4)), fields.number(4))
        # Bits 0 and 6 give the order of bytes, bits 4 and 5 how the mantissa is normalised: 2 as IEEE has it.
        plain = (
            precision == 8 * size and bits & 0x40 == 0 and bits >> 4 & 3 == 2 and bits >> 8 == precision - 1
        )
        dtype = _FLOATS.get(form, "") if plain else ""
        return Datatype(dtype or f"floating-point numbers of {size} bytes", size, dtype, bool(bits & 1))
    if kind == 3:
        return Datatype("texts", size, text="fixed")
    if kind == 6:
        return _complex(fields, version, bits & 0xFFFF, size, depth)
    if kind == 8:
        return _truth(fields, version, bits & 0xFFFF, size, depth)
    if kind == 9:
        text = bits & 15 == 1 and size == 16
        return Datatype("texts" if text else "lists", size, text="variable" if text else "")
    names = {2: "times", 4: "bit fields", 5: "opaque bytes", 7: "references", 10: "arrays"}
    return Datatype(names.get(kind, "of an unknown type"), size)


def _complex(fields: Fields, version: int, count: int, size: int, depth: int) -> Datatype:
    """A record of the two numbers `r` and `i` is a complex number, as h5py writes it."""
    members = []
    for _ in range(count if count == 2 else 0):
        name = fields.text(padded=version < 3)
        offset = fields.number(4 if version < 3 else (max(size, 1).bit_length() + 7) // 8)
        if version == 1:
            fields.take(28)
        members.append((name, offset, _parse(fields, depth + 1)))
    if [name for name, _, _ in members] == [b"r", b"i"]:
        (_, first, real), (_, second, imaginary) = members
        if real == imaginary and (first, second, size) == (0, real.size, 2 * real.size):
            dtype = _COMPLEX.get(real.dtype, "")
            return Datatype(dtype or "records", size, dtype, real.big_endian)
    return Datatype("records", size)


def _truth(fields: Fields, version: int, count: int, size: int, depth: int) -> Datatype:
    """An enumeration of FALSE and TRUE in a byte each is a truth value, as h5py writes it."""
    base = _parse(fields, depth + 1)
    if count == 2 and base.dtype in {"int8", "uint8"}:
        names = [fields.text(padded=version < 3) for _ in range(2)]
        if names == [b"FALSE", b"TRUE"] and fields.take(2) == b"\0\1":
            return Datatype("bool", size, "bool")
    return Datatype("enumerations", size)


def read_limits(message: Message, shape: tuple[int, ...]) -> tuple[int | None, ...]:
    """How large each dimension may become; `None`: without end. The message has given this shape."""
    raw, rank = message.data, len(shape)
    at = (8 if raw[0] == 1 else 4) + 8 * rank
    if not raw[2] & 1:
        return shape
    limits = [int.from_bytes(raw[at + 8 * axis : at + 8 * axis + 8], "little") for axis in range(rank)]
    return tuple(
        None if limit == (1 << 64) - 1 else max(limit, size)
        for limit, size in zip(limits, shape, strict=True)
    )


def read_dataspace(blocks: Blocks, message: Message) -> tuple[int, ...] | None:
    """The shape that a dataspace message gives; `None` for the space without elements."""
    if message.shared:
        raise blocks.unsupported("its shape is kept elsewhere")
    fields = Fields(blocks, message.data)
    version, rank, _ = fields.number(1), fields.number(1), fields.number(1)
    if version not in (1, 2) or rank > _MAX_RANK:
        raise blocks.corrupt(f"its shape is given in version {version}, with {rank} dimensions")
    kind = fields.number(1)
    if version == 1:
        fields.take(4)
    elif kind == 2:
        return None
    shape = struct.unpack(f"<{rank}Q", fields.take(8 * rank))
    product = 1
    for size in shape:
        product *= max(size, 1)
    if product >= _MAX_SIZE:
        raise blocks.corrupt(f"a shape of {shape} is impossible")
    return shape
