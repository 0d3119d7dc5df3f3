"""A NumPy array in a file (`.npy`), and what both it and `.npz` archives need: an array as a lazy tensor.

Object arrays are pickles; they are never read. What may be numbers and can't be read is refused by name.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Protocol

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.numpy.npy_header import MAGIC, NpyHeader, read_header
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import FarBytes, FarRange
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["NPY", "ArrayBytes", "array"]

_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "c16": "complex128", "c8": "complex64",
    "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool",
}  # fmt: skip
_DESCR = re.compile(r"([<>=|]?)([A-Za-z])(\d{0,9})(?:\[\w{1,20}\])?")
_MAX_TEXT = 1 << 16  # bytes of an array of texts that is shown rather than described


class ArrayBytes(Protocol):
    """The bytes of an array and of its header, in a file or in an archive."""

    def view(self, offset: int, length: int) -> memoryview:
        """So many of them, writable."""
        ...

    def far(self, offset: int) -> FarBytes | None:
        """Those from an offset on, where parts of them can be asked for in a remote file."""
        ...


def array(name: str, where: str, header: NpyHeader, size: int, source: ArrayBytes) -> object:
    """A lazy tensor, or plain data where the elements are texts or dates.

    Args:
        name: The tensor's key.
        where: The file and the entry, for messages.
        header: The array's header.
        size: Bytes that are there, with the header.
        source: Those bytes.

    Raises:
        CorruptCheckpointError: The elements don't fill these bytes.
        UnsafeCheckpointError: The elements are objects: a pickle.
        CheckpointError: The elements are of a kind that can't be told or that PyTorch doesn't have.
    """
    dtype, big = _dtype(header.descr, where)
    if not dtype:
        return _text(str(header.descr), header, where, size, source)
    numel = math.prod(header.shape)
    nbytes = numel * DTYPE_BITS[dtype] // 8
    _check_size(header, nbytes, size, where)
    shape = header.shape
    stride = contiguous_stride(shape)
    if header.fortran_order:
        stride = contiguous_stride(shape[::-1])[::-1]
    load = functools.partial(source.view, header.size, nbytes)
    storage = Storage(where, name, dtype, nbytes, load, swapped=big, far=source.far(header.size))
    return stored_tensor(storage, dtype, 0, shape, stride, name=name)


def _dtype(descr: object, where: str) -> tuple[str, bool]:
    """PyTorch's name of the dtype, and whether it is stored big-endian; no name for texts and dates."""
    if not isinstance(descr, str):
        raise CheckpointError(
            "its elements are records of several fields",
            where=where,
            hint='save each field as an array of its own: numpy.savez(…, x=array["x"])',
        )
    if descr.startswith(("bfloat", "float8")) and descr in DTYPE_BITS:
        return descr, False  # some writers know what NumPy only calls two or one bytes
    found = _DESCR.fullmatch(descr)
    if found is None:
        raise CorruptCheckpointError(f"dtype {descr[:40]!r} is not known", where=where)
    order, kind, width = found.groups()
    if kind == "O":
        raise UnsafeCheckpointError(
            "its elements are Python objects: a pickle, which could run anything",
            where=where,
            hint="where you trust it: numpy.load(…, allow_pickle=True), then numpy.savez its arrays by name",
        )
    if kind in "USaMm":
        return "", False
    dtype = _DTYPES.get(kind + width)
    if dtype is None:
        bare = " (bfloat16 and float8 are saved so, and so is anything else)" if kind == "V" else ""
        raise CheckpointError(
            f"its elements are of dtype {descr[:40]!r}, which doesn't say what they are to PyTorch{bare}",
            where=where,
            hint="save it as float32: array.astype(numpy.float32)",
        )
    return dtype, order == ">"


def _text(descr: str, header: NpyHeader, where: str, size: int, source: ArrayBytes) -> object:
    """Texts as they are where they are few; a word for dates, and for many texts."""
    order, kind, digits = _DESCR.fullmatch(descr).groups()  # type: ignore[union-attr]
    if kind in "Mm":
        return f"dates or times ({descr}) of shape {list(header.shape)}"
    width = int(digits or 0) * (4 if kind == "U" else 1)
    nbytes = math.prod(header.shape) * width
    _check_size(header, nbytes, size, where)
    if nbytes > _MAX_TEXT or not width or not nbytes:
        return f"texts ({descr}) of shape {list(header.shape)}"
    raw = bytes(source.view(header.size, nbytes))
    codec = "utf-8" if kind != "U" else "utf-32-be" if order == ">" else "utf-32-le"
    texts = [raw[at : at + width].decode(codec, "replace").rstrip("\0") for at in range(0, nbytes, width)]
    return texts if header.shape else texts[0]


def _check_size(header: NpyHeader, nbytes: int, size: int, where: str) -> None:
    if nbytes != size - header.size:
        raise CorruptCheckpointError(
            f"its elements take {nbytes} bytes, but {size - header.size} follow its header",
            where=where,
            hint="download or save it again; only one array in a file can be read",
        )


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is one array."""

    file: ByteFile

    def view(self, offset: int, length: int) -> memoryview:
        return self.file.view(offset, length)

    def far(self, offset: int) -> FarBytes | None:
        return FarRange.of(self.file, offset)


def _recognise(head: bytes) -> bool:
    return head.startswith(MAGIC)


def _read(file: ByteFile) -> Container:
    header = read_header(lambda length: file.data[:length], file.name)
    tree = array("", file.name, header, file.size, _File(file))
    if not isinstance(tree, TensorRef):
        raise CheckpointError(
            f"holds no numbers, but {str(tree)[:200]}",
            where=file.name,
            hint="open the file that the weights were saved to",
        )
    return Container(file.name, file.path, "npy", tree)


NPY = Format("npy", _recognise, _read)
