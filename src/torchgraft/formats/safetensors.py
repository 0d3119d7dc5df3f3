"""safetensors: a JSON header that says where each tensor is, then their bytes. The format is documented at
huggingface.co/docs/safetensors; this reader needs neither that package nor PyTorch."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.formats.strict_json import parse_json_table, unique_keys
from torchgraft.formats.tied_names import tied_names
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import FarRange
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["DTYPES", "LAYOUTS_KEY", "MAX_HEADER", "SAFETENSORS"]

MAX_HEADER = 100_000_000
"""Bytes that a header may have: the format's own limit."""

LAYOUTS_KEY = "torchgraft.layouts"
"""The header entry that says of which tensors the dimensions are not ordered as PyTorch's: a JSON table."""

_MAX_WIDE = 16 << 20  # Python holds a text with one wide letter in up to four bytes a letter
_FEW_VALUES = 300_000
_BYTES_A_VALUE = 4
"""A tensor's entry takes 53 bytes or more for 7 values, or 67 for 14 if it has eight dimensions."""

_LAYOUT = re.compile(r"[A-Z]{1,16}(:[a-z]{1,8})?")

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu", "C64": "complex64", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""PyTorch's names of the format's dtypes."""


def _recognise(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40


def _read(file: ByteFile) -> Container:
    where = file.name
    length = int.from_bytes(file.view(0, 8), "little")
    if length > MAX_HEADER:
        raise UnsafeCheckpointError(
            f"its header is {length} bytes long; the limit is {MAX_HEADER}", where=where
        )
    header = _parse(bytes(file.view(8, length)), where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptCheckpointError("its __metadata__ is not a table of texts", where=where)
    layouts = _layouts(metadata.get(LAYOUTS_KEY), where)
    tree: dict[str, TensorRef] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        dtype, shape, begin, end = _check(name, entry, where)
        load = functools.partial(file.view, 8 + length + begin, end - begin)
        far = FarRange.of(file, 8 + length + begin)
        storage = Storage(f"{where}: {name[:200]}", str(begin), dtype, end - begin, load, far=far)
        ref = stored_tensor(storage, dtype, 0, shape, contiguous_stride(shape), name=name)
        tree[name] = replace(ref, layout=layouts[name]) if name in layouts else ref
        spans.append((begin, end, name))
    expected = 0
    for begin, end, name in sorted(spans):
        if begin != expected:
            raise CorruptCheckpointError(
                f"the tensors overlap or leave a hole at {min(begin, expected)}",
                where=f"{where}: {name[:200]}",
            )
        expected = end
    if 8 + length + expected != file.size:
        raise CorruptCheckpointError(
            f"its tensors take {expected} bytes, but the file has {file.size - 8 - length} for them",
            where=where,
            hint="the file may be truncated: download or save it again",
        )
    return Container(file.name, file.path, "safetensors", tree | tied_names(metadata, tree), metadata)


def _layouts(text: str | None, where: str) -> Mapping[str, str]:
    """What `torchgraft.convert` noted of tensors that came from other libraries."""
    table = parse_json_table((text or "{}").encode(), f"{where}: {LAYOUTS_KEY}")
    layouts = {
        key: value for key, value in table.items() if isinstance(value, str) and _LAYOUT.fullmatch(value)
    }
    if len(layouts) != len(table):
        raise CorruptCheckpointError(f"its {LAYOUTS_KEY} is not a table of layouts", where=where)
    return layouts


def _parse(raw: bytes, where: str) -> dict[str, object]:
    if len(raw) > _MAX_WIDE and not raw.isascii():
        raise UnsafeCheckpointError(
            f"its header has {len(raw):,} bytes and letters beyond ASCII; its limit is {_MAX_WIDE:,}",
            where=where,
        )
    if raw.count(b",") + raw.count(b"{") + raw.count(b"[") > _FEW_VALUES + len(raw) // _BYTES_A_VALUE:
        raise UnsafeCheckpointError(
            "its header holds more values than tensors of its length have", where=where
        )
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(
            f"its header can't be read: {error}", where=where, hint="download or save it again"
        ) from error
    if not isinstance(header, dict):
        raise CorruptCheckpointError("its header is not a table", where=where)
    return header


def _check(name: str, entry: object, where: str) -> tuple[str, tuple[int, ...], int, int]:
    """The dtype, shape and place of a tensor, when they agree."""
    match entry:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [begin, end]} if all(
            type(number) is int and 0 <= number < 1 << 62 for number in (*shape, begin, end)
        ):
            dtype = DTYPES.get(code)
            if dtype is None:
                raise CorruptCheckpointError(
                    f"dtype {code[:40]!r} is not known", where=f"{where}: {name[:200]}"
                )
            if len(shape) <= 64 and end - begin == math.prod(shape) * DTYPE_BITS[dtype] // 8:
                return dtype, tuple(shape), begin, end
    raise CorruptCheckpointError(
        "its dtype, shape and place in the file don't agree", where=f"{where}: {name[:200]}"
    )


SAFETENSORS = Format("safetensors", _recognise, _read)
