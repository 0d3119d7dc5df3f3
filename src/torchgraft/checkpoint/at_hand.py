"""Reading many tensors one after the other, in few requests where they are far away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import TensorRef

__all__ = ["at_hand"]

_GROUP = 64 << 20


def at_hand(tensors: Iterable[tuple[str, TensorRef]]) -> Iterator[tuple[str, TensorRef]]:
    """Tensors one after the other; of a remote file some 64 MB are fetched ahead, in few requests.

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
