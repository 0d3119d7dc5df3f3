"""The pickle of a dict of tensors, opcode by opcode, as `torch.save` writes it; their bytes are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torchgraft.formats.stored_tensor import contiguous_stride
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["state_pickle"]

_STORAGES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage",
    "uint8": "ByteStorage", "bool": "BoolStorage",
    "complex128": "ComplexDoubleStorage", "complex64": "ComplexFloatStorage",
}  # fmt: skip
"""Dtypes that have a class of storages; those of later ones are untyped."""

_PROTOCOL, _STOP = b"\x80\x02", b"."
_MARK, _TUPLE, _EMPTY_TUPLE, _EMPTY_DICT, _SET_ITEMS = b"(", b"t", b")", b"}", b"u"
_REDUCE, _PERSISTENT, _FALSE = b"R", b"Q", b"\x89"
_NO_HOOKS = b"ccollections\nOrderedDict\n" + _EMPTY_TUPLE + _REDUCE


def state_pickle(tensors: Mapping[str, TensorRef], storages: Mapping[str, str]) -> bytes:
    """The pickle.

    Args:
        tensors: By key.
        storages: The storage of each, by the tensor's key.
    """
    parts = [_PROTOCOL, _EMPTY_DICT, _MARK]
    for key, ref in tensors.items():
        parts += (_text(key), *_tensor(ref, storages[key]))
    return b"".join((*parts, _SET_ITEMS, _STOP))


def _tensor(ref: TensorRef, storage: str) -> Iterator[bytes]:
    """`_rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks)`; `…_v3` has a dtype too."""
    typed = _STORAGES.get(ref.dtype)
    yield b"ctorch._utils\n_rebuild_tensor_v2\n" if typed else b"ctorch._utils\n_rebuild_tensor_v3\n"
    yield _MARK
    count = ref.numel if typed else ref.numel * DTYPE_BITS[ref.dtype] // 8
    storage_class = f"ctorch\n{typed}\n" if typed else "ctorch.storage\nUntypedStorage\n"
    yield _tuple(_text("storage"), storage_class.encode(), _text(storage), _text("cpu"), _number(count))
    yield _PERSISTENT
    yield _number(0)
    yield _tuple(*map(_number, ref.shape))
    yield _tuple(*map(_number, contiguous_stride(ref.shape)))
    yield _FALSE + _NO_HOOKS
    if not typed:
        yield f"ctorch\n{ref.dtype}\n".encode()
    yield _TUPLE + _REDUCE


def _text(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return b"X" + len(raw).to_bytes(4, "little") + raw


def _number(number: int) -> bytes:
    if number < 1 << 31:
        return b"J" + number.to_bytes(4, "little")
    return b"\x8a\x09" + number.to_bytes(9, "little")


def _tuple(*items: bytes) -> bytes:
    return b"".join((_MARK, *items, _TUPLE)) if items else _EMPTY_TUPLE
