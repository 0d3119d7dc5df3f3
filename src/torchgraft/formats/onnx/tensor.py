"""A tensor of an ONNX model (`TensorProto`): where its values are, checked, as a lazy tensor.

The message is documented in onnx.proto. Values are raw bytes, in the model or in a file beside it, or lists
of numbers, which Protocol Buffers writes as they lie in memory or as varints.
"""

from __future__ import annotations

import functools
import math
from array import array
from dataclasses import dataclass, field, replace

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.onnx.external import ExternalFiles
from torchgraft.formats.onnx.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Message, varint
from torchgraft.formats.onnx.values import SUB_BYTE, from_sub_bytes, from_varints
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import FarRange
from torchgraft.tensors import DTYPE_BITS

__all__ = ["TensorMessage", "lazy_tensor", "read_pair", "read_tensor_message"]

_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
    24: "float8_e8m0fnu",
}  # fmt: skip
_STRING = 8
_RAW = 9
_LISTS = {4: FIXED32, 5: VARINT, 7: VARINT, 10: FIXED64, 11: VARINT}
"""The wire type of each list of numbers: float_data, int32_data, int64_data, double_data, uint64_data."""
_LIST_OF = {
    "float32": 4,
    "complex64": 4,
    "float64": 10,
    "complex128": 10,
    "int64": 7,
    "uint32": 11,
    "uint64": 11,
}
_INT32_DATA = 5  # every other dtype's
_MAX_STRINGS, _MAX_STRING = 1000, 1000
_MAX_SIZE = 1 << 62
_MAX_PIECES = 1 << 20
"""Every writer packs a list of values into one field; ones that are apart cost a hundred times their size."""


@dataclass(slots=True)
class TensorMessage:
    """What a `TensorProto` says.

    Attributes:
        name: Its name.
        code: Its data type.
        dims: Its dimensions.
        values: Where in the file its values are, by the number of the field that holds them: where each
            piece begins, and where it ends, in turn.
        texts: Its values when they are texts, so many of them as are shown.
        external: Its `external_data`: where outside of the model its values are.
        is_external: Whether they are there.
    """

    name: str = ""
    code: int = 0
    dims: list[int] = field(default_factory=list)
    values: dict[int, array[int]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False


def read_tensor_message(message: Message, start: int, end: int, where: str) -> TensorMessage:
    """Walk a `TensorProto`.

    Raises:
        CheckpointError: It is damaged, or stored in segments.
    """
    made = TensorMessage()
    for part in message.fields(start, end, where):
        number = part.number
        if number == 1:
            made.dims += _numbers(message, part, where)
            if len(made.dims) > 64:
                raise CorruptCheckpointError(
                    "it has more than 64 dimensions", where=_named(message, start, end, where)
                )
        elif number == 2:
            message.expect(part, VARINT, where)
            made.code = part.value
        elif number == 3:
            raise CheckpointError(
                "it is stored in segments, which no ONNX writer is known to do",
                where=_named(message, start, end, where),
                hint="save it again",
            )
        elif number == 8:
            made.name = message.text(part, where)
        elif number == _RAW or number in _LISTS:
            if part.wire != BYTES:
                message.expect(part, _LISTS.get(number, BYTES), where)
            pieces = made.values.setdefault(number, array("q"))
            pieces.extend((part.start, part.end))
            if len(pieces) > 2 * _MAX_PIECES:
                raise UnsafeCheckpointError(
                    f"its values are stored in more than {_MAX_PIECES:,} pieces",
                    where=where,
                    hint="save it again",
                )
        elif number == 6:
            if len(made.texts) < _MAX_STRINGS:
                start, end = part.start, min(part.end, part.start + _MAX_STRING)
                made.texts.append(message.file.data[start:end].decode("utf-8", "replace"))
        elif number == 13:
            key, value = read_pair(message, part, where)
            made.external[key] = value
        elif number == 14:
            made.is_external = part.value == 1
    return made


def _named(message: Message, start: int, end: int, where: str) -> str:
    """The file and the tensor, whose name comes after most of what can be wrong with it."""
    names = [message.text(part, where) for part in message.fields(start, end, where) if part.number == 8]
    return f"{where}: {names[-1][:200]}" if names else where


def lazy_tensor(said: TensorMessage, message: Message, external: ExternalFiles, where: str) -> object:
    """The tensor, or a list of texts.

    Args:
        said: What its message says.
        message: The model.
        external: The files beside the model.
        where: The file and the tensor, for messages.

    Raises:
        CorruptCheckpointError: Its values are not as many as its shape says, or not of its data type.
        UnsafeCheckpointError: They are said to be outside of the model's folder.
    """
    if said.code == _STRING:
        return said.texts
    shape = tuple(said.dims)
    dtype = _DTYPES.get(said.code) or SUB_BYTE.get(said.code, (0, ""))[1]
    if not dtype:
        raise CorruptCheckpointError(f"ONNX data type {said.code} is not known", where=where)
    if not all(0 <= size < _MAX_SIZE for size in shape):
        raise CorruptCheckpointError("a dimension is negative or impossibly large", where=where)
    # How many numbers are stored: one for each element, or for each byte that several share.
    bits = SUB_BYTE[said.code][0] if said.code in SUB_BYTE else 0
    count = -(-math.prod(shape) * bits // 8) if bits else math.prod(shape)
    nbytes = count if bits else count * DTYPE_BITS[dtype] // 8
    far: FarRange | None = None
    if said.is_external:
        if said.values:
            raise CorruptCheckpointError("its values are both in the model and outside of it", where=where)
        outside, start = external.find(said.external, nbytes, where)
        key = f"{outside.name}:{start}"
        load = functools.partial(outside.view, start, nbytes)
        varints = False
    else:
        list_field = _INT32_DATA if bits else _LIST_OF.get(dtype, _INT32_DATA)
        varints = _check_values(said, list_field, count, nbytes, where)
        pieces = next(iter(said.values.values()), array("q", [0, 0]))
        key = str(pieces[0])
        load = functools.partial(_joined, message.file, pieces)
        if len(pieces) == 2:
            load = functools.partial(message.file.view, pieces[0], pieces[1] - pieces[0])
            far = FarRange.of(message.file, pieces[0])
    if bits:
        return from_sub_bytes(said.name, where, said.code, shape, load, varints=varints)
    if varints:
        return from_varints(said.name, where, dtype, shape, load)
    storage = Storage(where, key, dtype, nbytes, load, far=far)
    ref = stored_tensor(storage, dtype, 0, shape, contiguous_stride(shape), name=said.name)
    if said.is_external and ref.alias:  # two tensors may share what is outside
        return replace(ref, alias=f"{key}:{dtype}:{shape}")
    return ref


def _check_values(said: TensorMessage, list_field: int, count: int, nbytes: int, where: str) -> bool:
    """Whether the values are varints; they are in one field, which fits the data type, and are enough."""
    if not said.values and not count:
        return False
    if len(said.values) != 1 or len(said.values.get(_RAW, "..")) != 2:
        what = "has no values" if not said.values else "has values in several places"
        raise CorruptCheckpointError(f"it {what}", where=where, hint="save the model again")
    ((number, pieces),) = said.values.items()
    if number not in {_RAW, list_field}:
        raise CorruptCheckpointError("its values are in a field of another data type", where=where)
    stored = sum(pieces[1::2]) - sum(pieces[::2])
    varints = _LISTS.get(number) == VARINT
    if not count <= stored <= 10 * count if varints else stored != nbytes:
        raise CorruptCheckpointError(
            f"its shape {said.dims} needs {count if varints else nbytes} bytes, and {stored} are there",
            where=where,
            hint="download or save the model again",
        )
    return varints


def _joined(file: ByteFile, pieces: array[int]) -> memoryview:
    """The values as one run: writers pack them into one field, but needn't."""
    return memoryview(
        bytearray().join(
            file.view(start, end - start) for start, end in zip(pieces[::2], pieces[1::2], strict=True)
        )
    )


def _numbers(message: Message, part: Field, where: str) -> list[int]:
    """One number of a list, or all of it where they are packed into one field."""
    if part.wire == VARINT:
        return [part.signed]
    message.expect(part, BYTES, where)
    if part.end - part.start > 640:
        raise CorruptCheckpointError("it has more than 64 dimensions", where=where)
    raw = message.file.data[part.start : part.end]
    numbers, at = [], 0
    while at < len(raw):
        number, at = varint(raw, at)
        if at < 0:
            raise CorruptCheckpointError("its dimensions are damaged", where=where)
        numbers.append(number)
    return numbers


def read_pair(message: Message, part: Field, where: str) -> tuple[str, str]:
    """The key and the value of a `StringStringEntryProto`."""
    message.expect(part, BYTES, where)
    key = value = ""
    for inner in message.fields(part.start, part.end, where):
        if inner.number == 1:
            key = message.text(inner, where)
        elif inner.number == 2:
            value = message.text(inner, where)
    return key, value
