"""Reading all of a checkpoint tensor by tensor with little memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torchgraft.checkpoint.checkpoint import Checkpoint
from torchgraft.tensors import Index, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["frugal"]

_MOST = 128 << 20


def frugal(checkpoint: Checkpoint) -> dict[str, TensorRef]:
    """Its tensors, such that reading one after the other leaves some 128 MB of the file in memory at most.

    Only for a checkpoint of which nobody else has views: what was written into one of them would be lost.
    """
    meter = _Meter(checkpoint.forget)
    return {key: replace(ref, fetch=_Metered(ref, meter).fetch) for key, ref in checkpoint.items()}


@dataclass(slots=True)
class _Meter:
    forget: Callable[[], None]
    read: int = 0


@dataclass(frozen=True, slots=True)
class _Metered:
    ref: TensorRef
    meter: _Meter

    def fetch(self, index: Index) -> torch.Tensor:
        if self.meter.read > _MOST:
            self.meter.forget()
            self.meter.read = 0
        tensor = self.ref.fetch(index)
        self.meter.read += tensor.numel() * tensor.element_size()
        return tensor
