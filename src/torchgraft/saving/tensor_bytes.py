"""A tensor's elements as bytes, row by row, a few megabytes at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch

from torchgraft.errors import SaveError
from torchgraft.tensors import TensorRef

__all__ = ["tensor_bytes"]

_PIECE = 32 << 20


def tensor_bytes(ref: TensorRef) -> Iterator[memoryview]:
    """Its elements in order, little-endian, without gaps.

    Each piece is read when it is asked for, so that no more than one is in memory.

    Raises:
        SaveError: It is not what its shape and dtype say.
        CheckpointError: It can't be read.
    """
    assert sys.byteorder == "little"
    given = 0
    for index in ref.parts(_PIECE):
        piece = ref.view(index)
        if str(piece.dtype) != f"torch.{ref.dtype}":
            raise SaveError(f"it is read as {piece.dtype}, not as {ref.dtype}", where=ref.name)
        raw = _raw(piece)
        given += len(raw)
        yield raw
    if given != ref.nbytes:
        raise SaveError(f"it has {given} bytes instead of {ref.nbytes}", where=ref.name)


def _raw(tensor: torch.Tensor) -> memoryview:
    # Neither format knows the marks for conjugated and negated values.
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    if not plain.numel():
        return memoryview(b"")
    flat = plain.as_strided((plain.numel(),), (1,))  # a dimension of one element may have any stride
    raw: memoryview = flat.view(torch.uint8).numpy().data
    return raw
