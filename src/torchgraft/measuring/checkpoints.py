"""All tensors of a checkpoint measured, and which of them are the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from torchgraft.checkpoint import Checkpoint, OnBytes, at_hand, frugal
from torchgraft.measuring.result import TensorStats

if TYPE_CHECKING:
    from torchgraft.tensors import TensorRef

__all__ = ["measure"]


def measure(checkpoint: Checkpoint, *, on_bytes: OnBytes | None = None) -> dict[str, TensorStats]:
    """Read a checkpoint once, tensor by tensor with little memory, and say what its values are like.

    Only for a checkpoint of which nobody else has views that were written to.

    Args:
        checkpoint: Opened.
        on_bytes: Called tensor by tensor with the bytes that are done and those that there are.

    Raises:
        CheckpointError: A tensor can't be read.
    """
    from torchgraft.measuring.values import digest, stats

    refs = frugal(checkpoint) if checkpoint.path is not None else dict(checkpoint)
    alike = Counter(map(_kind, refs.values()))
    found: dict[str, TensorStats] = {}
    first: dict[object, str] = {}
    done, total = 0, sum(ref.nbytes for ref in refs.values())
    for name, ref in at_hand(refs.items()):
        if on_bytes is not None:
            on_bytes(done, total)
        done += ref.nbytes
        place = (ref.alias, _kind(ref))
        owner = first.setdefault(place, name) if ref.alias is not None else name
        if owner != name:
            found[name] = replace(found[owner], twin=owner, tied=True)
            continue
        measured = stats(ref)
        if alike[_kind(ref)] > 1 and ref.numel and not (measured.dead or measured.constant or ref.numel == 1):
            twin = first.setdefault((digest(ref), _kind(ref)), name)
            if twin != name:
                measured = replace(measured, twin=twin)
        found[name] = measured
    if on_bytes is not None:
        on_bytes(total, total)
    return found


def _kind(ref: TensorRef) -> tuple[object, ...]:
    return (ref.shape, ref.dtype, ref.layout)
