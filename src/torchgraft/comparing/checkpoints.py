"""`diff`: what two checkpoints have in common, and what not."""

from __future__ import annotations

import os
from dataclasses import replace

from torchgraft import checkpoint as checkpoints
from torchgraft.checkpoint import Checkpoint, OnBytes, at_hand, frugal
from torchgraft.comparing.result import Diff, TensorDiff
from torchgraft.tensors import TensorRef

__all__ = ["diff"]


def diff(
    a: str | os.PathLike[str] | Checkpoint,
    b: str | os.PathLike[str] | Checkpoint,
    *,
    values: bool = False,
    select: str | None = None,
    on_bytes: OnBytes | None = None,
) -> Diff:
    """Compare two checkpoints, of whatever formats: names, shapes, dtypes, and on request the values.

    Without `values` only headers are read, and PyTorch is not needed. With it both are read piece by piece:
    some 500 MB are in memory at a time at most, unless a container gives its tensors as a whole only.

    Args:
        a: What `torchgraft.open` opens, or a checkpoint that is open.
        b: The other one.
        values: Compare the values of tensors that have the same name, shape and layout, also those of
            different dtypes.
        select: Which part of either file are the weights; see `torchgraft.open`. For two different parts,
            open the checkpoints first.
        on_bytes: Called after each tensor whose values were compared, with the bytes that are done and those
            that there are, of both checkpoints.

    Raises:
        CheckpointError: One of them can't be read.
    """
    (one, left), (other, right) = _opened(a, select), _opened(b, select)
    tensors = [_header(name, left.get(name), right.get(name)) for name in {**left, **right}]
    if values:
        tensors = _with_values(tensors, left, right, on_bytes)
    return Diff(one.name, other.name, values, tuple(tensors))


def _opened(
    source: str | os.PathLike[str] | Checkpoint, select: str | None
) -> tuple[Checkpoint, dict[str, TensorRef]]:
    if isinstance(source, Checkpoint):
        opened = source if select is None else source.select(select)
        return opened, dict(opened)
    opened = checkpoints.open(source, select=select)
    return opened, frugal(opened)


def _header(name: str, a: TensorRef | None, b: TensorRef | None) -> TensorDiff:
    return TensorDiff(
        name,
        (None if a is None else a.shape, None if b is None else b.shape),
        (None if a is None else a.dtype, None if b is None else b.dtype),
        (None if a is None else a.layout, None if b is None else b.layout),
    )


def _with_values(
    tensors: list[TensorDiff],
    left: dict[str, TensorRef],
    right: dict[str, TensorRef],
    on_bytes: OnBytes | None,
) -> list[TensorDiff]:
    from torchgraft.comparing.values import compare

    comparable = [
        tensor.name
        for tensor in tensors
        if tensor.shapes[0] == tensor.shapes[1] and tensor.layouts[0] == tensor.layouts[1]
    ]
    pairs = zip(
        at_hand((name, left[name]) for name in comparable),
        at_hand((name, right[name]) for name in comparable),
        strict=True,
    )
    done, total = 0, sum(left[name].nbytes + right[name].nbytes for name in comparable)
    found = {}
    for (name, one), (_, other) in pairs:
        found[name] = compare(one, other)
        done += one.nbytes + other.nbytes
        if on_bytes is not None:
            on_bytes(done, total)
    return [replace(tensor, values=found.get(tensor.name)) for tensor in tensors]
