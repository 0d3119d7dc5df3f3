"""Floating-point tensors in another precision, cast as they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from torchgraft.errors import SaveError
from torchgraft.tensors import Index, TensorRef

__all__ = ["PRECISIONS", "cast"]

PRECISIONS = ("float64", "float32", "float16", "bfloat16")
"""What can be cast from and to. Whole numbers, complex, quantised and 8-bit ones stay as they are."""


def cast(ref: TensorRef, dtype: str) -> TensorRef:
    """The tensor in another precision, if it is of one.

    Reading it raises `SaveError` where a value is too large for it and would become infinite.
    """
    if ref.dtype not in PRECISIONS or ref.dtype == dtype:
        return ref
    alias = f"{ref.alias}:{dtype}" if ref.alias else None
    return replace(ref, dtype=dtype, fetch=_Cast(ref, dtype).fetch, alias=alias)


@dataclass(frozen=True, slots=True)
class _Cast:
    ref: TensorRef
    dtype: str

    def fetch(self, index: Index) -> torch.Tensor:
        before = self.ref.fetch(index)
        after = before.to(getattr(torch, self.dtype))
        if before.layout == torch.strided and not torch.equal(after.isinf(), before.isinf()):
            raise SaveError(
                f"it has values that are too large for {self.dtype}",
                where=self.ref.name,
                hint="choose bfloat16 or float32, or keep its precision",
            )
        return after
