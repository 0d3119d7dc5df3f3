"""Tensors in blocks of a few bits an element, which become float32 when they are read.

The gguf package knows what each block type means; only the rows that an index selects are given to it.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from torchgraft.errors import CheckpointError, MissingDependencyError
from torchgraft.formats.gguf.types import BLOCKS
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import FarRange
from torchgraft.tensors import Index, TensorRef

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["block_tensor", "unreadable_tensor"]


def block_tensor(
    file: ByteFile, name: str, start: int, size: int, code: int, shape: tuple[int, ...]
) -> TensorRef:
    """A lazy tensor of float32.

    Args:
        file: The file.
        name: Its key.
        start: Where in the file its blocks begin. They have been checked to be there.
        size: How many bytes they take.
        code: Its type; one of `BLOCKS`.
        shape: Its shape. The last dimension is a multiple of the block's elements.
    """
    kind, elements, width = BLOCKS[code]
    last = shape[-1]
    row_bytes = last // elements * width

    def fetch(index: Index) -> torch.Tensor:
        import numpy as np
        import torch

        # A tensor without data tells which elements the index selects: a lattice, since indices are slices.
        picked = torch.empty(shape, device="meta")[index]
        if not picked.numel():
            return torch.empty(picked.shape)
        row, column = divmod(int(picked.storage_offset()), last)
        steps = [(size, step) for size, step in zip(picked.shape, picked.stride(), strict=True) if size > 1]
        rows = [(size, step // last) for size, step in steps if step % last == 0]
        columns, stride = next(((size, step) for size, step in steps if step % last), (1, 1))
        span = 1 + sum((size - 1) * step for size, step in rows)
        raw = np.frombuffer(file.view(start + row * row_bytes, span * row_bytes), np.uint8)
        wanted = np.lib.stride_tricks.as_strided(
            raw,
            (*(size for size, _ in rows), row_bytes),
            (*(step * row_bytes for _, step in rows), 1),
            writeable=False,
        )
        values = _dequantise(
            np.ascontiguousarray(wanted).reshape(-1, row_bytes), code, f"{file.name}: {name}"
        )
        end = column + (columns - 1) * stride + 1
        return values[:, column:end:stride].reshape(picked.shape)

    alias = f"{file.name}:{start}:{kind}:{shape}" if math.prod(shape) else None
    far = FarRange.of(file, start)
    spans = functools.partial(far.spans, 0, size) if far and size else tuple
    return TensorRef(name, shape, "float32", fetch=fetch, alias=alias, spans=spans)


def unreadable_tensor(name: str, shape: tuple[int, ...], where: str, why: str) -> TensorRef:
    """A tensor that is listed, and refused with this reason when it is read."""

    def fetch(_index: Index) -> torch.Tensor:
        raise _unreadable(where, why)

    return TensorRef(name, shape, "float32", fetch=fetch)


def _dequantise(rows: np.ndarray[Any, np.dtype[np.uint8]], code: int, where: str) -> torch.Tensor:
    import numpy as np
    import torch

    kind = BLOCKS[code][0]
    try:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize
    except ImportError as error:
        raise MissingDependencyError(
            f"reading tensors of type {kind} needs the gguf package",
            where=where,
            hint="pip install 'torchgraft[gguf]'",
        ) from error
    try:
        with np.errstate(all="ignore"):  # a block's scale may be infinite, or no number
            return torch.from_numpy(dequantize(rows, GGMLQuantizationType(code)))
    except (NotImplementedError, ValueError) as error:
        raise _unreadable(where, f"the gguf package can't read type {kind}") from error


def _unreadable(where: str, why: str) -> CheckpointError:
    return CheckpointError(
        why, where=where, hint="get the model's safetensors files, or a GGUF file of another type (F16, Q8_0)"
    )
