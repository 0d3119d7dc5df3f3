"""An ONNX graph's inputs and outputs (`ValueInfoProto`), in words."""

from __future__ import annotations

from torchgraft.formats.onnx.protobuf import BYTES, Field, Message

__all__ = ["read_value"]

_TYPES = (
    "undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16",
    "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "uint4", "int4", "float4_e2m1", "float8_e8m0fnu", "uint2", "int2",
)  # fmt: skip
"""ONNX's data types by their numbers."""


def read_value(message: Message, value: Field, where: str) -> tuple[str, str]:
    """A value's name, and its type and shape such as `"float32 [batch, 3, 224, 224]"`."""
    message.expect(value, BYTES, where)
    name, said = "", "?"
    for part in message.fields(value.start, value.end, where):
        if part.number == 1:
            name = message.text(part, where)
        elif part.number == 2:
            for kind in _inside(message, part, where):
                said = _tensor_type(message, kind, where) if kind.number == 1 else "not a tensor"
    return name, said


def _tensor_type(message: Message, kind: Field, where: str) -> str:
    dtype, shape = "?", ""
    for part in _inside(message, kind, where):
        if part.number == 1:
            dtype = _TYPES[part.value] if part.value < len(_TYPES) else f"type {part.value}"
        elif part.number == 2:
            sizes = [
                _size(message, size, where) for size in _inside(message, part, where) if size.number == 1
            ]
            shape = f" [{', '.join(sizes)}]"
    return dtype + shape


def _size(message: Message, size: Field, where: str) -> str:
    """A number, or the name of one that is known when the model runs."""
    said = "?"
    for part in _inside(message, size, where):
        if part.number == 1:
            said = str(part.signed)
        elif part.number == 2:
            said = message.text(part, where)
    return said


def _inside(message: Message, part: Field, where: str) -> list[Field]:
    message.expect(part, BYTES, where)
    return list(message.fields(part.start, part.end, where))
