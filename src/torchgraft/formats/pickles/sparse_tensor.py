"""Sparse tensors: where the values are and what they are; checked before a value is looked for."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.tensors import DTYPE_BITS, Index, Span, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["LAYOUTS", "sparse_tensor"]

LAYOUTS = ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
"""PyTorch's sparse layouts, without `torch.`."""

_MAX_SIZE = 1 << 62
_MAX_DENSE = 1 << 28
"""Bytes that a part of a sparse tensor may take on the way: it is cut out of the dense tensor."""


def sparse_tensor(
    layout: str,
    parts: tuple[TensorRef, ...],
    shape: tuple[int, ...],
    *,
    coalesced: bool | None = None,
    where: str,
) -> TensorRef:
    """A lazy sparse tensor: reading all of it gives a sparse tensor, reading a part of it a dense one.

    Args:
        layout: One of `LAYOUTS`.
        parts: Indices and values for `"sparse_coo"`; compressed indices, plain indices and values else.
        shape: The shape it has as a dense tensor.
        coalesced: Whether indices are sorted and unique, as far as the file says.
        where: The file and the entry, for messages.

    Raises:
        CorruptCheckpointError: The shapes or dtypes of its parts and its own don't fit.
    """
    possible = len(shape) <= 64 and all(type(size) is int and 0 <= size < _MAX_SIZE for size in shape)
    fits = _fits_coo if layout == "sparse_coo" else _fits_compressed
    if (
        not possible
        or math.prod(max(size, 1) for size in shape) >= _MAX_SIZE
        or parts[-1].dtype.startswith("q")
        or not fits(layout, parts, shape)
    ):
        raise CorruptCheckpointError("the parts and the shape of a sparse tensor don't fit", where=where)
    view = _Sparse(layout, parts, shape, coalesced, where)
    aliases = [part.alias for part in parts]
    alias = f"{layout}:{shape}:{'+'.join(map(str, aliases))}" if all(aliases) else None
    return TensorRef("", shape, parts[-1].dtype, fetch=view.fetch, alias=alias, layout=layout)


def _fits_coo(_layout: str, parts: tuple[TensorRef, ...], shape: tuple[int, ...]) -> bool:
    indices, values = parts
    if indices.dtype != "int64" or len(indices.shape) != 2 or not values.shape:
        return False
    sparse, count = indices.shape
    return values.shape[0] == count and sparse <= len(shape) and values.shape[1:] == shape[sparse:]


def _fits_compressed(layout: str, parts: tuple[TensorRef, ...], shape: tuple[int, ...]) -> bool:
    compressed, plain, values = parts
    batch = len(compressed.shape) - 1
    blocked = 2 if layout in ("sparse_bsr", "sparse_bsc") else 0
    if (
        batch < 0
        or compressed.dtype not in ("int64", "int32")
        or plain.dtype != compressed.dtype
        or len(plain.shape) != batch + 1
        or len(values.shape) < batch + 1 + blocked
        or not shape[:batch] == compressed.shape[:-1] == plain.shape[:-1] == values.shape[:batch]
        or plain.shape[-1] != values.shape[batch]
        or len(shape) < batch + 2
    ):
        return False
    block = values.shape[batch + 1 : batch + 1 + blocked] or (1, 1)
    rows, columns = shape[batch : batch + 2]
    if 0 in block or rows % block[0] or columns % block[1]:
        return False
    by_row = layout in ("sparse_csr", "sparse_bsr")
    lines = rows // block[0] if by_row else columns // block[1]
    return compressed.shape[-1] == lines + 1 and values.shape[batch + 1 + blocked :] == shape[batch + 2 :]


@dataclass(slots=True, eq=False)
class _Sparse:
    layout: str
    parts: tuple[TensorRef, ...]
    shape: tuple[int, ...]
    coalesced: bool | None
    where: str

    def fetch(self, index: Index) -> torch.Tensor:
        try:
            if index is ... or index == ():
                return self._whole()
            size = math.prod(self.shape) * DTYPE_BITS[self.parts[-1].dtype] // 8
            if size > _MAX_DENSE:
                raise CheckpointError(
                    f"a part of a sparse tensor of shape {self.shape} can't be read: all of it would take"
                    f" {size:,} bytes on the way",
                    where=self.where,
                    hint="read all of it as a sparse tensor: ref.read()",
                )
            return self._whole().to_dense()[index]
        except (RuntimeError, NotImplementedError) as error:
            raise CorruptCheckpointError(
                f"a sparse tensor makes no sense: {str(error).splitlines()[0][:200]}", where=self.where
            ) from error

    def spans(self) -> list[Span]:
        """Where its parts are."""
        return [span for part in self.parts for span in part.spans()]

    def _whole(self) -> torch.Tensor:
        """With every index checked: one beyond the shape would have PyTorch write outside of its memory."""
        import torch

        parts = [part.fetch(...) for part in self.parts]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta")
            if self.layout == "sparse_coo":
                return torch.sparse_coo_tensor(
                    parts[0], parts[1], self.shape, check_invariants=True, is_coalesced=self.coalesced
                )
            layout: torch.layout = getattr(torch, self.layout)
            return torch.sparse_compressed_tensor(
                parts[0], parts[1], parts[2], self.shape, layout=layout, check_invariants=True
            )
