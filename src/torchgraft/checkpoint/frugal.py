"""Reading all of a checkpoint tensor by tensor: with little memory, and few requests where it is far away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torchgraft.checkpoint.checkpoint import Checkpoint
from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import Index, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["at_hand", "frugal"]

_MOST = 128 << 20
_GROUP = 64 << 20


def frugal(checkpoint: Checkpoint) -> dict[str, TensorRef]:
    """Its tensors, such that reading one after the other leaves some 128 MB of the file in memory at most.

    Only for a checkpoint of which nobody else has views: what was written into one of them would be lost.
    """
    meter = _Meter(checkpoint.forget)
    return {key: replace(ref, fetch=_Metered(ref, meter).fetch) for key, ref in checkpoint.items()}


def at_hand(tensors: Iterable[tuple[str, TensorRef]]) -> Iterator[tuple[str, TensorRef]]:
    """The same, one after the other; of a remote file some 64 MB are fetched ahead, in few requests.

    Raises:
        FetchError: They can't be had.
    """
    group: list[tuple[str, TensorRef]] = []
    size = 0
    for item in tensors:
        if group and size + item[1].nbytes > _GROUP:
            yield from _fetched(group)
            group, size = [], 0
        group.append(item)
        size += item[1].nbytes
    yield from _fetched(group)


def _fetched(group: list[tuple[str, TensorRef]]) -> Iterator[tuple[str, TensorRef]]:
    with prefetched(span for _, ref in group if ref.nbytes <= _GROUP for span in ref.spans()):
        yield from group


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
