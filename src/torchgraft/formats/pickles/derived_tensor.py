"""Tensors that are not what is stored: of another dtype, or without values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.tensors import Index, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["converted", "without_values"]

_MAX_SIZE = 1 << 62


def converted(ref: TensorRef, dtype: str) -> TensorRef:
    """The tensor in another dtype, converted when it is read."""
    if ref.dtype == dtype:
        return ref

    def fetch(index: Index) -> torch.Tensor:
        import torch

        wanted: torch.dtype = getattr(torch, dtype)
        return ref.fetch(index).to(wanted)

    alias = f"{ref.alias}:{dtype}" if ref.alias else None
    return TensorRef(ref.name, ref.shape, dtype, fetch=fetch, alias=alias, layout=ref.layout, spans=ref.spans)


def without_values(shape: tuple[int, ...], dtype: str, *, where: str) -> TensorRef:
    """A tensor of which the file has the shape only: it was on PyTorch's `meta` device. It can't be read.

    Raises:
        CorruptCheckpointError: The shape is impossible.
    """
    if len(shape) > 64 or not all(type(size) is int and 0 <= size < _MAX_SIZE for size in shape):
        raise CorruptCheckpointError("the shape of a tensor is impossible", where=where)

    def fetch(_index: Index) -> torch.Tensor:
        raise CheckpointError(
            f"a tensor of shape {shape} has no values: it was saved from the meta device",
            where=where,
            hint="save the model again after its weights have been loaded",
        )

    return TensorRef("", shape, dtype, fetch=fetch)
