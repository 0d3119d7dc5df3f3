"""Datasets: each becomes a lazy tensor, when the file holds every byte of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torchgraft.formats.hdf5.attributes import read_attributes
from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.chunk_index import read_chunks
from torchgraft.formats.hdf5.chunks import Packed
from torchgraft.formats.hdf5.datatypes import Datatype, read_dataspace, read_datatype, read_limits
from torchgraft.formats.hdf5.filters import read_filters
from torchgraft.formats.hdf5.headers import DATASPACE, DATATYPE, EXTERNAL, FILTERS, LAYOUT, Message
from torchgraft.formats.hdf5.heaps import GlobalHeap
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.storage.far_range import FarRange
from torchgraft.tensors import TensorRef

__all__ = ["Dataset", "read_dataset"]

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Dataset:
    """An array in the file.

    Attributes:
        path: Its path, without a slash at the start.
        what: What it is, in words.
        tensor: The array; `None` if PyTorch has no such dtype.
    """

    path: str
    what: str
    tensor: TensorRef | None


def read_dataset(blocks: Blocks, address: int, header: Sequence[Message], heap: GlobalHeap) -> Dataset:
    """The dataset that has this object header.

    Args:
        blocks: The file.
        address: Where the header is; equal for two names of one dataset.
        header: Its messages.
        heap: Where its attributes' texts are.
    """
    found: dict[int, Message] = {}
    for message in header:
        if message.kind in (DATASPACE, DATATYPE, LAYOUT, FILTERS, EXTERNAL):
            if message.kind in found:
                raise blocks.corrupt("it describes itself twice")
            found[message.kind] = message
    if EXTERNAL in found:
        raise blocks.unsafe(
            "its values are kept in another file, which is not opened",
            hint="write the arrays themselves into the file",
        )
    if DATASPACE not in found or DATATYPE not in found:
        raise blocks.corrupt("it has no shape or no datatype")
    path = blocks.place.removeprefix("/")
    shape, kind = read_dataspace(blocks, found[DATASPACE]), read_datatype(blocks, found[DATATYPE])
    layout = Fields(blocks, found[LAYOUT].data)
    version, way = layout.number(1), layout.number(1)
    if version not in (3, 4, 5):
        raise blocks.unsupported(f"its place is given in version {version}")
    if way == _VIRTUAL:
        raise blocks.unsafe(
            "it is a virtual dataset, made of others that may be in other files",
            hint="write the arrays themselves into the file",
        )
    # Keras writes bfloat16 so, and says in an attribute what it is.
    opaque = kind.what == "opaque bytes" and kind.size == 2
    if opaque and read_attributes(blocks, header, heap).get("dtype") == "bfloat16":
        kind = Datatype("bfloat16", 2, "bfloat16")
    if shape is None or not kind.dtype:
        return Dataset(path, f"{kind.what} of shape {list(shape or ())}", None)
    filters = read_filters(blocks, found[FILTERS]) if FILTERS in found else ()
    if way == _CHUNKED:
        limits = read_limits(found[DATASPACE], shape)
        chunks = read_chunks(blocks, layout, version, shape, limits, kind.size, filters)
        packed = Packed(blocks.file, blocks.where, shape, kind.dtype, kind.big_endian, chunks)
        alias = f"{blocks.file.name}: chunks of {address}" if math.prod(shape) else None
        ref = replace(packed.tensor(), alias=alias)
    elif filters:
        raise blocks.corrupt("it is packed, but not in chunks")
    else:
        storage = _storage(blocks, layout, way, math.prod(shape) * kind.size, kind)
        ref = stored_tensor(storage, kind.dtype, 0, shape, contiguous_stride(shape))
    return Dataset(path, f"{kind.dtype} {list(shape)}", ref)


def _storage(blocks: Blocks, layout: Fields, way: int, nbytes: int, kind: Datatype) -> Storage:
    """The bytes of a dataset that lie in one piece."""
    if way == _COMPACT:
        data = bytearray(layout.take(layout.number(2)))
        if len(data) < nbytes:
            raise blocks.corrupt(f"it has {len(data)} bytes instead of {nbytes}")
        key = f"in its header: {blocks.place}"
        return Storage(blocks.where, key, kind.dtype, nbytes, lambda: memoryview(data), kind.big_endian)
    if way != _CONTIGUOUS:
        raise blocks.corrupt(f"its values are laid out in an unknown way ({way})")
    address, size = layout.address(), layout.size()
    if not nbytes:
        return Storage(blocks.where, "", kind.dtype, 0, lambda: memoryview(b""))
    if address is None:
        raise blocks.corrupt("its values were never written")
    if size < nbytes:
        raise blocks.corrupt(f"it has {size} bytes instead of {nbytes}")
    file, offset = blocks.file, blocks.base + address
    if offset + nbytes > file.size:
        raise blocks.corrupt(f"it should have {nbytes} bytes at {offset}, but the file ends before")
    far = FarRange.of(file, offset)
    load = functools.partial(file.view, offset, nbytes)
    return Storage(blocks.where, str(offset), kind.dtype, nbytes, load, kind.big_endian, far)
