"""One tensor measured, piece by piece, in double precision."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from torchgraft.measuring.result import BINS, Histogram, TensorStats
from torchgraft.tensors import TensorRef

__all__ = ["as_plain", "digest", "ends", "histogram", "stats"]

_PIECE = 4 << 20
"""Bytes that are looked at in one go: in double precision they take two to eight times as much."""


def as_plain(tensor: torch.Tensor) -> torch.Tensor:
    """A dense tensor of values on the CPU; quantised ones as what they stand for."""
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    elif tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.detach().resolve_conj().resolve_neg().cpu()


def stats(ref: TensorRef) -> TensorStats:
    """Measure a tensor; its histogram takes a second look, since the ends have to be known first.

    Raises:
        CheckpointError: It can't be read.
    """
    found = _Running()
    pieces = list(ref.parts(_PIECE))
    kept = [_doubles(ref.view(pieces[0]))] if len(pieces) == 1 else None
    for values in kept if kept is not None else (_doubles(ref.view(index)) for index in pieces):
        found.add(values)
    measured = found.result()
    if not math.isfinite(measured.low):
        return measured
    again = kept if kept is not None else (_doubles(ref.view(index)) for index in pieces)
    return replace(measured, histogram=_histogram(again, measured.low, measured.high))


def ends(tensor: torch.Tensor) -> tuple[float, float]:
    """The least and the greatest finite value of a tensor in memory; `(inf, -inf)` of none."""
    found = _Running()
    for values in _pieces(tensor):
        found.add(values)
    return found.low, found.high


def histogram(tensor: torch.Tensor, low: float, high: float) -> Histogram:
    """The histogram of a tensor in memory between two ends; what lies beyond is in none of its bars."""
    return _histogram(_pieces(tensor), low, high)


def digest(ref: TensorRef) -> bytes:
    """What tells tensors of one shape and dtype apart: equal for the same bits.

    Raises:
        CheckpointError: It can't be read.
    """
    found = hashlib.blake2b(digest_size=16)
    for index in ref.parts(_PIECE):
        tensor = ref.view(index)
        if tensor.is_quantized:
            found.update(repr(tensor.qscheme()).encode())
            found.update(tensor.dequantize().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            continue
        plain = as_plain(tensor).contiguous()
        # a dimension of one element may have any stride; its bytes can't be viewed then
        found.update(plain.as_strided((plain.numel(),), (1,)).view(torch.uint8).numpy().data)
    return found.digest()


@dataclass(slots=True)
class _Running:
    """Counts and moments of what has been seen so far; moments are joined as Chan, Golub and LeVeque do."""

    count: int = 0
    nan: int = 0
    inf: int = 0
    zeros: int = 0
    low: float = math.inf
    high: float = -math.inf
    finite: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: torch.Tensor) -> None:
        self.count += len(values)
        if not len(values):
            return
        self.zeros += len(values) - int(torch.count_nonzero(values))
        low, high = (float(end) for end in values.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            self.nan += int(values.isnan().sum())
            self.inf += int(values.isinf().sum())
            values = values[values.isfinite()]
            if not len(values):
                return
            low, high = (float(end) for end in values.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        variance, mean = (float(each) for each in torch.var_mean(values, correction=0))
        n, step = len(values), mean - self.mean
        total = self.finite + n
        self.squares += variance * n + step * step * self.finite * n / total
        self.mean += step * n / total
        self.finite = total

    def result(self) -> TensorStats:
        some = self.finite > 0
        return TensorStats(
            count=self.count,
            nan=self.nan,
            inf=self.inf,
            zeros=self.zeros,
            low=self.low if some else math.nan,
            high=self.high if some else math.nan,
            mean=self.mean if some else math.nan,
            sd=math.sqrt(self.squares / self.finite) if some else math.nan,
        )


def _histogram(pieces: Iterable[torch.Tensor], low: float, high: float) -> Histogram:
    if low == high:  # one value: it stands in the middle
        margin = abs(low) or 1.0
        low, high = low - margin, high + margin
    counts = torch.zeros(BINS, dtype=torch.int64)
    scale = BINS / (high - low) if high - low < math.inf else 0.0
    for values in pieces:
        inside = values[(values >= low) & (values <= high)]
        at = (inside - low) * scale if scale else (inside / 2 - low / 2) * (BINS / 2 / (high / 2 - low / 2))
        counts += torch.bincount(at.long().clamp_(0, BINS - 1), minlength=BINS)
    return Histogram(low, high, tuple(counts.tolist()))


def _pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    flat = as_plain(tensor).reshape(-1)
    for start in range(0, len(flat), _PIECE // 4):
        yield _doubles(flat[start : start + _PIECE // 4])


def _doubles(tensor: torch.Tensor) -> torch.Tensor:
    plain = as_plain(tensor)
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    return plain.reshape(-1).double()
