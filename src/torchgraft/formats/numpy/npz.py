"""Named NumPy arrays in a zip archive (`.npz`), as JAX, Flax and Google's published models use it."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.archives.inflated import Inflated
from torchgraft.formats.archives.zip_entry import Entry
from torchgraft.formats.container import Container, ZipFormat
from torchgraft.formats.numpy.npy import array
from torchgraft.formats.numpy.npy_header import read_header
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import FarBytes, far_spans
from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import Span, TensorRef

__all__ = ["NPZ"]

_SUFFIX = ".npy"
_HEAD = 1 << 10  # bytes that an array's header takes, even compressed
_TABLES = 512  # bytes that deflate's code tables take before the first text, and a margin
_HONEST_RATIO = 64
_MAX_ZEROS = 1 << 32
"""What inflates more than 64-fold is nearly all zeros, or a bomb. Up to 4 GiB it is taken for zeros."""

_LAYOUTS = {4: "HWIO", 2: "IO"}


def _recognise(names: Collection[str]) -> bool:
    return any(name.endswith(_SUFFIX) for name in names) and not any(
        name == "data.pkl" or name.endswith("/data.pkl") for name in names
    )


def _read(file: ByteFile, entries: Mapping[str, Entry]) -> Container:
    tree: dict[str, object] = {}
    inflated = Inflated()
    with prefetched(_heads(file, entries.values())):
        for entry in entries.values():
            where = f"{file.name}: {entry.name[:200]}"
            name = entry.name.removesuffix(_SUFFIX)
            if name in tree:
                raise CorruptCheckpointError("another entry has this name too, without .npy", where=where)
            if name == entry.name:
                tree[name] = f"{entry.size} bytes, not an array"
                continue
            source = _Source(entry, where, inflated)
            header = read_header(source.first, where)
            value = array(name, where, header, entry.size, source)
            if entry.deflated and isinstance(value, TensorRef):
                value = replace(value, spans=functools.partial(entry.spans, 0, entry.stored))
            tree[name] = value
    return Container(file.name, file.path, "npz", _with_layouts(tree))


def _heads(file: ByteFile, entries: Collection[Entry]) -> list[Span]:
    """Where the arrays' headers are, when a request for each would take long."""
    return [
        span
        for entry in entries
        if entry.name.endswith(_SUFFIX)
        for span in far_spans(file, entry.header, min(entry.header_size + _HEAD, entry.room))
    ]


@dataclass(frozen=True, slots=True)
class _Source:
    """An entry's bytes, of which only as many are read and inflated as are wanted."""

    entry: Entry
    where: str
    inflated: Inflated

    def first(self, length: int) -> bytes:
        """The first so many bytes, or all there are. No checksum is computed: that would take them all."""
        entry = self.entry
        # A text that is rare in its block takes up to 15 bits a character.
        wanted = 2 * length + _TABLES if entry.deflated else length
        some = entry.file.view(entry.offset, min(wanted, entry.stored))
        if not entry.deflated:
            return bytes(some)
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(some, length)
        except zlib.error as error:
            raise CorruptCheckpointError(
                f"the entry can't be decompressed: {error}", where=self.where, hint="download it again"
            ) from error

    def view(self, offset: int, length: int) -> memoryview:
        entry = self.entry
        if not entry.deflated:
            return entry.part(offset, length)
        if entry.size > max(_HONEST_RATIO * entry.stored, _MAX_ZEROS):
            raise UnsafeCheckpointError(
                f"it would inflate {entry.stored} bytes to {entry.size}",
                where=self.where,
                hint="if it is what you expect, save it again with numpy.savez, which doesn't compress",
            )
        return self.inflated.view(entry)[offset : offset + length]

    def far(self, offset: int) -> FarBytes | None:
        return _FarPart(self.entry, offset) if self.entry.far else None


@dataclass(frozen=True, slots=True)
class _FarPart:
    """A remote entry's stored bytes from an offset on."""

    entry: Entry
    offset: int

    def part(self, begin: int, length: int) -> memoryview:
        return self.entry.part(self.offset + begin, length)

    def spans(self, begin: int, length: int) -> Sequence[Span]:
        return self.entry.spans(self.offset + begin, length)


def _with_layouts(tree: dict[str, object]) -> dict[str, object]:
    """Mark kernels as Flax orders them, where the names are Flax's beyond doubt.

    There a layer's weight is a `kernel` on a path with slashes; PyTorch calls it `weight`.
    """
    words = {name: re.split(r"[/.]", name)[-1] for name in tree}
    if "weight" in words.values():
        return tree
    return {
        name: replace(node, layout=_LAYOUTS.get(len(node.shape), ""))
        if words[name] == "kernel" and "/" in name and isinstance(node, TensorRef)
        else node
        for name, node in tree.items()
    }


NPZ = ZipFormat("npz", _recognise, _read)
