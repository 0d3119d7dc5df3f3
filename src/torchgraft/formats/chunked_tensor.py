"""A tensor that is stored in pieces, each a tensor of its own: a part of it reads only what it touches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.picked_ranges import picked_ranges
from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import DTYPE_BITS, Index, Span, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["Chunk", "TilingCheck", "chunked_tensor"]

_MAX_DIMENSIONS = 64
_MAX_SIZE = 1 << 62
_MAX_BYTES = 1 << 62
_AHEAD, _SMALL = 1 << 26, 1 << 20
"""Bytes of pieces that are fetched from afar at once, and of one that is fetched whole for a part of it."""


@dataclass(slots=True, eq=False)
class Chunk:
    """A piece of a tensor.

    Attributes:
        offsets: Where its first element is in the whole.
        sizes: Its shape.
        stored: How many bytes of a file it is stored in; not less than its elements take.
        where: The file and the entry, for messages.
        open: Gives it as a tensor; called at the first read.
        spans: Says which bytes reading all of it takes, where those are far away; otherwise none.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    stored: int
    where: str
    open: Callable[[], TensorRef]
    spans: Callable[[], Sequence[Span]] = tuple
    opened: TensorRef | None = field(default=None, init=False)

    def tensor(self, dtype: str) -> TensorRef:
        """The stored piece, once it is seen to be what the whole says of it."""
        if self.opened is None:
            found = self.open()
            if (found.dtype, found.shape) != (dtype, self.sizes):
                raise CorruptCheckpointError(
                    f"holds a {found.dtype} tensor of shape {list(found.shape)}, where {dtype} "
                    f"{list(self.sizes)} is announced",
                    where=self.where,
                    hint="the files are of different checkpoints, or damaged: copy or save all of them again",
                )
            self.opened = found
        return self.opened


class TilingCheck:
    """Checks that chunks make up their tensors, without a hole and without overlap, in about linear time."""

    def __init__(self) -> None:
        self._pairs_left = 1_000_000

    def check(self, shape: tuple[int, ...], chunks: Sequence[Chunk], where: str) -> None:
        """Raises `CorruptCheckpointError` when they don't, `UnsafeCheckpointError` when it takes too long."""
        numel = 0
        for chunk in chunks:
            inside = len(chunk.offsets) == len(chunk.sizes) == len(shape) and all(
                min(start, size) >= 0 and start + size <= whole
                for start, size, whole in zip(chunk.offsets, chunk.sizes, shape, strict=True)
            )
            if not inside:
                raise _wrong(
                    f"a piece of shape {_short(chunk.sizes)} at {_short(chunk.offsets)} lies outside of it",
                    shape,
                    where,
                )
            numel += math.prod(chunk.sizes)
        filled = [chunk for chunk in chunks if math.prod(chunk.sizes)]
        if not self._is_grid(shape, filled):
            self._refuse_overlaps(shape, filled, where)
        if numel != math.prod(shape):
            raise _wrong(f"its pieces have {numel:,} of {math.prod(shape):,} elements", shape, where)

    @staticmethod
    def _is_grid(shape: tuple[int, ...], chunks: Sequence[Chunk]) -> bool:
        """Whether cuts along whole planes give these chunks, each once: as sharding does."""
        if len(chunks) < 2:
            return True
        starts = [sorted({chunk.offsets[axis] for chunk in chunks}) for axis in range(len(shape))]
        if math.prod(map(len, starts)) != len(chunks):
            return False
        ends = [
            dict(zip(cuts, [*cuts[1:], whole], strict=True))
            for cuts, whole in zip(starts, shape, strict=True)
        ]
        return len({str(chunk.offsets) for chunk in chunks}) == len(chunks) and all(
            start + size == end[start]
            for chunk in chunks
            for start, size, end in zip(chunk.offsets, chunk.sizes, ends, strict=True)
        )

    def _refuse_overlaps(self, shape: tuple[int, ...], chunks: Sequence[Chunk], where: str) -> None:
        self._pairs_left -= len(chunks) * (len(chunks) - 1) // 2
        if self._pairs_left < 0:
            raise UnsafeCheckpointError(
                f"it is cut into {len(chunks):,} pieces that are no grid; checking them would take too long",
                where=where,
            )
        for one, other in combinations(chunks, 2):
            if all(
                a < b + b_size and b < a + a_size
                for a, a_size, b, b_size in zip(
                    one.offsets, one.sizes, other.offsets, other.sizes, strict=True
                )
            ):
                raise _wrong(
                    f"its pieces at {_short(one.offsets)} and {_short(other.offsets)} overlap", shape, where
                )


def chunked_tensor(
    name: str, dtype: str, shape: tuple[int, ...], chunks: Sequence[Chunk], check: TilingCheck, where: str
) -> TensorRef:
    """A lazy tensor made of chunks.

    Args:
        name: Its key.
        dtype: PyTorch's name of its dtype.
        shape: Its shape.
        chunks: Its pieces.
        check: Makes sure that they tile it.
        where: The file and the entry, for messages.

    Raises:
        CorruptCheckpointError: The shape is impossible, the dtype is not known, or the chunks don't tile it.
        UnsafeCheckpointError: Checking that would take too long.
    """
    if dtype not in DTYPE_BITS or dtype.startswith("q"):
        raise CorruptCheckpointError(f"dtype {dtype[:40]!r} is not known", where=where)
    nbytes = math.prod(max(size, 1) for size in shape) * DTYPE_BITS[dtype] // 8
    if len(shape) > _MAX_DIMENSIONS or any(size < 0 for size in shape) or nbytes >= _MAX_BYTES:
        raise CorruptCheckpointError(f"its shape {_short(shape)} is impossible", where=where)
    for chunk in chunks:
        if math.prod(chunk.sizes) * DTYPE_BITS[dtype] // 8 > chunk.stored:
            raise _wrong(
                f"a piece of shape {_short(chunk.sizes)} is said to be in {chunk.stored} bytes", shape, where
            )
    check.check(shape, chunks, where)
    pieces = _Pieces(dtype, shape, [chunk for chunk in chunks if math.prod(chunk.sizes)])
    return TensorRef(name, shape, dtype, fetch=pieces.fetch, spans=pieces.spans)


@dataclass(slots=True, eq=False)
class _Pieces:
    dtype: str
    shape: tuple[int, ...]
    chunks: list[Chunk]

    def fetch(self, index: Index) -> torch.Tensor:
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        if len(self.chunks) == 1:
            with prefetched(_soon(self.chunks, whole=index is ...)):
                return self.chunks[0].tensor(self.dtype).view(index)
        # A tensor without data says what PyTorch makes of the index: its errors and the shape of the result.
        wanted = torch.empty(self.shape, dtype=dtype, device="meta")[index]
        picks = picked_ranges(index, self.shape)
        if picks is None:  # an index of an uncommon kind
            return self.fetch(...)[index]
        result = torch.empty([len(pick) for pick in picks], dtype=dtype)
        parts = [(chunk, _overlaps(chunk, picks)) for chunk in self.chunks]
        touched = [(chunk, spans) for chunk, spans in parts if all(first < after for first, after in spans)]
        with prefetched(
            _soon([chunk for chunk, _ in touched], whole=wanted.numel() == math.prod(self.shape))
        ):
            for chunk, spans in touched:
                source = tuple(
                    slice(pick[first] - start, pick[after - 1] - start + 1, pick.step)
                    for pick, (first, after), start in zip(picks, spans, chunk.offsets, strict=True)
                )
                target = tuple(slice(first, after) for first, after in spans)
                result[target] = chunk.tensor(self.dtype).view(source)
        return result.view(wanted.shape)

    def spans(self) -> list[Span]:
        """Where its pieces are."""
        return [span for chunk in self.chunks for span in chunk.spans()]


def _soon(chunks: Sequence[Chunk], *, whole: bool) -> list[Span]:
    """Where these are, as far as they are small, or wanted whole: of a large one a part may be enough."""
    if sum(chunk.stored for chunk in chunks) > _AHEAD:
        return []
    return [span for chunk in chunks if whole or chunk.stored <= _SMALL for span in chunk.spans()]


def _overlaps(chunk: Chunk, picks: Sequence[range]) -> list[tuple[int, int]]:
    """For each dimension, which of the picked positions lie in the chunk."""
    return [
        _overlap(pick, start, size)
        for pick, start, size in zip(picks, chunk.offsets, chunk.sizes, strict=True)
    ]


def _overlap(pick: range, start: int, size: int) -> tuple[int, int]:
    """Which of the picked positions, from the first to after the last, lie in `start … start + size`."""
    first = max(0, -((pick.start - start) // pick.step))
    after = min(len(pick), -((pick.start - start - size) // pick.step))
    return first, after


def _short(numbers: tuple[int, ...]) -> str:
    return str([*numbers[:8]]) if len(numbers) <= 8 else f"{[*numbers[:8]]} and {len(numbers) - 8} more"


def _wrong(what: str, shape: tuple[int, ...], where: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{what}; its shape is {_short(shape)}", where=where, hint="copy or save the checkpoint again"
    )
