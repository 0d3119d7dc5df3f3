"""Telling how much of a checkpoint has been read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from torchgraft.tensors import Index, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["OnBytes", "counted"]

OnBytes: TypeAlias = Callable[[int, int], object]
"""Called with the bytes that are done and those that there are."""


def counted(tensors: Mapping[str, TensorRef], on_bytes: OnBytes) -> dict[str, TensorRef]:
    """The same tensors; whoever reads each once, whole or in parts, has `on_bytes` called as they go."""
    count = _Count(on_bytes, sum(ref.nbytes for ref in tensors.values()))
    return {key: replace(ref, fetch=_Counted(ref, count).fetch) for key, ref in tensors.items()}


@dataclass(slots=True)
class _Count:
    on_bytes: OnBytes
    total: int
    done: int = 0

    def add(self, size: int) -> None:
        self.done = min(self.done + size, self.total)
        self.on_bytes(self.done, self.total)


@dataclass(frozen=True, slots=True)
class _Counted:
    ref: TensorRef
    count: _Count

    def fetch(self, index: Index) -> torch.Tensor:
        tensor = self.ref.fetch(index)
        self.count.add(tensor.numel() * tensor.element_size())
        return tensor
