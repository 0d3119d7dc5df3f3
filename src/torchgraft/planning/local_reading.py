"""A process's own part of a tensor, made of those parts of the checkpoint's tensors that it needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import CheckpointError
from torchgraft.planning.entries import TargetEntry
from torchgraft.planning.local_slices import Box, Step, is_whole, narrowed, shape_of
from torchgraft.tensors import Index, Span, TensorRef

__all__ = ["LocalRead", "PartRead", "index_of", "spans_of"]


@dataclass(frozen=True, slots=True)
class PartRead:
    """What is read of one tensor of the checkpoint, and what is made of it.

    Attributes:
        source: Its key; `None` for zeros.
        box: Which part is read.
        steps: What is done with it.
    """

    source: str | None
    box: Box
    steps: tuple[Step, ...]

    def take(self, checkpoint: Checkpoint, base: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
        """Read it, without a copy where that is possible.

        Raises:
            CheckpointError: It can't be read, or has no values.
        """
        if self.source is None:
            return torch.zeros(shape_of(self.box), dtype=dtype)
        ref = checkpoint[self.source]
        value = ref.view(index_of(self.box, ref.shape))
        if value.layout != torch.strided:
            value = ref.view((...,))
        if value.is_meta:
            raise CheckpointError(
                "is on the meta device: it has no values",
                where=self.source,
                hint="give weights that hold values",
            )
        for step in self.steps:
            value = step(value, base)
        return value


@dataclass(frozen=True, slots=True)
class LocalRead:
    """All that is read for a part of one tensor of the model.

    Attributes:
        parts: What is read; several for one that is joined from several, one below the other.
        steps: What is done with them after that.
    """

    parts: tuple[PartRead, ...]
    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, entry: TargetEntry, box: Box) -> LocalRead:
        """What a part of the tensor needs; without looking at any value."""
        if not entry.joined:
            assert entry.source is not None
            assert entry.source_shape is not None
            source, steps = narrowed(entry.ops, entry.source_shape, box)
            return cls((PartRead(entry.source, source, steps),))
        height = sum(part.shape[0] for part in entry.joined)
        fused, steps = narrowed(entry.ops, (height, *entry.joined[0].shape[1:]), box)
        (first, after), *rest = fused
        parts = []
        end = 0
        for part in entry.joined:
            begin, end = end, end + part.shape[0]
            if max(first, begin) >= min(after, end):
                continue
            wanted = ((max(first, begin) - begin, min(after, end) - begin), *rest)
            if part.source is None:
                parts.append(PartRead(None, wanted, ()))
            else:
                source, made = narrowed(part.ops, part.source_shape, wanted)
                parts.append(PartRead(part.source, source, made))
        return cls(tuple(parts), steps)

    def value(self, checkpoint: Checkpoint, base: torch.Tensor) -> torch.Tensor:
        """The part, from the checkpoint and what the model has there now.

        Raises:
            CheckpointError: A tensor can't be read.
        """
        if len(self.parts) == 1:
            value = self.parts[0].take(checkpoint, base, base.dtype)
        else:
            value = torch.cat([part.take(checkpoint, None, base.dtype).to(base.dtype) for part in self.parts])
        for step in self.steps:
            value = step(value, base)
        return value

    def in_pieces(
        self, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device | str | None, limit: int
    ) -> torch.Tensor:
        """The same, a few rows at a time, for what is computed and larger before it is cast."""
        (part,) = self.parts
        shape = shape_of(part.box)
        if not shape:
            return part.take(checkpoint, None, dtype).to(device, dtype)
        made = torch.empty(shape, dtype=dtype, device=device)
        for rows in _runs(shape, limit):
            start = part.box[0][0]
            box = ((start + rows.start, start + rows.stop), *part.box[1:])
            made[rows] = PartRead(part.source, box, ()).take(checkpoint, None, dtype)
        return made

    def spans(self, checkpoint: Checkpoint) -> Iterator[Span]:
        """The bytes of remote files that it takes, as far as that can be told."""
        for part in self.parts:
            if part.source is not None:
                yield from spans_of(checkpoint[part.source], part.box)


def index_of(box: Box, shape: Sequence[int]) -> Index:
    """What selects it: `...` for all of the tensor."""
    if is_whole(box, tuple(shape)):
        return ...
    return tuple(slice(start, stop) for start, stop in box)


def spans_of(ref: TensorRef, box: Box) -> list[Span]:
    """The bytes of a remote file from the first to the last element of a part of a tensor.

    They are known where the tensor lies in one piece. One that is stored in several is asked for as it is
    read: then its own form says which pieces it takes.
    """
    spans = list(ref.spans())
    if is_whole(box, ref.shape):
        return spans
    if len(spans) != 1 or spans[0].length != ref.nbytes or not math.prod(shape_of(box)):
        return []
    width = ref.nbytes // ref.numel
    steps = [math.prod(ref.shape[axis + 1 :]) for axis in range(len(ref.shape))]
    first = sum(start * step for (start, _), step in zip(box, steps, strict=True))
    last = sum((stop - 1) * step for (_, stop), step in zip(box, steps, strict=True))
    return [Span(spans[0].file, spans[0].offset + first * width, (last + 1 - first) * width)]


def _runs(shape: Sequence[int], limit: int) -> Iterator[slice]:
    """Rows that take at most so many bytes in float32."""
    row = max(1, math.prod(shape[1:]) * 4)
    step = max(1, limit // row)
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
