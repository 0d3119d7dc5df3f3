"""A tensor that is stored in chunks: a slice reads and unpacks only the chunks that it touches."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.chunked_tensor import Chunk, TilingCheck, chunked_tensor
from torchgraft.formats.hdf5.chunk_index import Chunks
from torchgraft.formats.hdf5.filters import unpack
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import far_spans
from torchgraft.tensors import DTYPE_BITS, Index, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["Packed"]


@dataclass(frozen=True, slots=True)
class Packed:
    """A chunked dataset.

    Attributes:
        file: The file.
        where: The file and the dataset, for messages.
        shape: Its shape.
        dtype: PyTorch's name of its dtype.
        swapped: Its numbers are big-endian.
        chunks: Where its chunks are.
    """

    file: ByteFile
    where: str
    shape: tuple[int, ...]
    dtype: str
    swapped: bool
    chunks: Chunks

    def tensor(self) -> TensorRef:
        """The dataset as a lazy tensor."""
        return chunked_tensor("", self.dtype, self.shape, list(self._pieces()), TilingCheck(), self.where)

    def _pieces(self) -> Iterator[Chunk]:
        """Chunks as far as they lie within the dataset: those at its ends are stored whole."""
        steps = self.chunks.shape
        size = math.prod(steps) * DTYPE_BITS[self.dtype] // 8
        if not math.prod(self.shape):
            return  # one of its dimensions may still be huge
        for number, place in enumerate(itertools.product(*map(range, self.chunks.grid))):
            offsets = tuple(at * step for at, step in zip(place, steps, strict=True))
            sizes = tuple(
                min(step, whole - at) for at, step, whole in zip(offsets, steps, self.shape, strict=True)
            )
            stored = self.chunks.stored[number]
            spans = functools.partial(far_spans, self.file, stored.offset, stored.length)
            open_piece = functools.partial(self._piece, number, sizes)
            yield Chunk(offsets, sizes, size, self.where, open_piece, spans)

    def _piece(self, number: int, sizes: tuple[int, ...]) -> TensorRef:
        fetch = functools.partial(self._fetch, number, sizes)
        return TensorRef("", sizes, self.dtype, fetch=fetch)

    def _fetch(self, number: int, sizes: tuple[int, ...], index: Index) -> torch.Tensor:
        chunk, steps = self.chunks.stored[number], self.chunks.shape
        nbytes = math.prod(steps) * DTYPE_BITS[self.dtype] // 8
        raw = self.file.view(chunk.offset, chunk.length)
        try:
            data = unpack(raw, self.chunks.filters, chunk.mask, nbytes)
        except ValueError as error:
            raise CorruptCheckpointError(
                f"its chunk {number} is damaged: {error}", where=self.where, hint="download or save it again"
            ) from error
        storage = Storage(self.where, "", self.dtype, nbytes, lambda: memoryview(data), self.swapped)
        return stored_tensor(storage, self.dtype, 0, sizes, contiguous_stride(steps)).fetch(index)
