"""The elements of two tensors compared, piece by piece, in double precision."""

from __future__ import annotations

import math

import torch

from torchgraft.comparing.result import ValueDiff
from torchgraft.measuring.values import as_plain
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["compare"]

_PIECE = 16 << 20
_AT_ONCE = 1 << 16
"""Elements that are compared at once: what is computed of so many stays in the processor's cache."""

_TINY = torch.finfo(torch.float64).tiny
_SIGN = torch.iinfo(torch.int64).min


def compare(a: TensorRef, b: TensorRef) -> ValueDiff:
    """How two tensors of one shape differ.

    Raises:
        CheckpointError: One of them can't be read.
    """
    identical = a.dtype == b.dtype
    differing, only_nan, max_abs, max_rel = 0, 0, 0.0, 0.0
    lengths, norms, unmoved = [0.0], [0.0], []
    wider = max(a, b, key=lambda ref: DTYPE_BITS[ref.dtype])
    for index in wider.parts(_PIECE):
        one, other = a.view(index), b.view(index)
        if a.dtype == b.dtype and _same_bits(one, other):
            unmoved.append(index)
            continue
        identical = False
        x, y = as_plain(one).reshape(-1), as_plain(other).reshape(-1)
        for at in range(0, len(x), _AT_ONCE):
            found = _compare(x[at : at + _AT_ONCE], y[at : at + _AT_ONCE])
            differing += found.differing
            only_nan += found.only_nan
            max_abs, max_rel = max(max_abs, found.max_abs), max(max_rel, found.max_rel)
            lengths.append(found.distance)
            norms.append(found.norm)
    if not identical:  # the length of what did not move is asked for only where something did
        for index in unmoved:
            x = as_plain(a.view(index)).reshape(-1)
            norms += [_length(_double(x[at : at + _AT_ONCE])) for at in range(0, len(x), _AT_ONCE)]
    return ValueDiff(
        identical, differing, only_nan, max_abs, max_rel, math.hypot(*lengths), math.hypot(*norms)
    )


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.is_quantized:
        stored = torch.equal(one.int_repr(), other.int_repr())
        return stored and torch.equal(one.dequantize(), other.dequantize())
    # A dimension of one element may have any stride; its bytes can't be viewed then.
    flat = [as_plain(tensor).contiguous().as_strided((tensor.numel(),), (1,)) for tensor in (one, other)]
    raw = [data.view(torch.uint8) for data in flat]
    if not any(len(data) % 8 or data.data_ptr() % 8 for data in raw):  # eight bytes at once, if both can
        raw = [data.view(torch.int64) for data in raw]
    return torch.equal(*raw)


def _compare(one: torch.Tensor, other: torch.Tensor) -> ValueDiff:
    if one.dtype == other.dtype and one.dtype in (torch.int64, torch.uint64):
        distance, scale, same = _large_integers(one, other)
        nan_in_one = torch.zeros((), dtype=torch.bool)
    else:
        x, y = _double(one), _double(other)
        distance = (x - y).abs()
        most = float(distance.max()) if distance.numel() else 0.0
        if math.isfinite(most):  # so there is neither NaN nor infinity among them
            scale = torch.maximum(x.abs(), y.abs()).clamp_min(_TINY)
            most_relative = float((distance / scale).max()) if most else 0.0
            differing = int(torch.count_nonzero(distance))
            return ValueDiff(False, differing, 0, most, most_relative, _length(distance), _length(x))
        nan = x.isnan(), y.isnan()
        nan_in_one = nan[0] ^ nan[1]
        same = (x == y) | (nan[0] & nan[1])
        scale = torch.maximum(x.abs(), y.abs())
        distance.masked_fill_(same | nan_in_one, 0)
    finite = _double(one).isfinite() & _double(other).isfinite()
    relative = torch.where(distance.isinf(), distance, distance / scale).masked_fill_(distance == 0, 0)
    return ValueDiff(
        identical=False,
        differing=int((~same).sum()),
        only_nan=int(nan_in_one.sum()),
        max_abs=float(distance.max()) if distance.numel() else 0.0,
        max_rel=float(relative.max()) if relative.numel() else 0.0,
        distance=_length(distance[finite]),
        norm=_length(_double(one)[finite]),
    )


def _length(numbers: torch.Tensor) -> float:
    length = float(torch.linalg.vector_norm(numbers))
    return length if math.isfinite(length) else float(torch.linalg.vector_norm(numbers[numbers.isfinite()]))


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _large_integers(
    one: torch.Tensor, other: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Distances and scales of 64-bit integers, which doubles can't tell apart when they are large."""
    unsigned = one.dtype == torch.uint64
    x, y = (tensor.view(torch.int64) for tensor in (one.contiguous(), other.contiguous()))
    if unsigned:  # the same order, and the same distances, as signed numbers
        x, y = x ^ _SIGN, y ^ _SIGN
    wrapped = torch.maximum(x, y) - torch.minimum(x, y)  # modulo 2⁶⁴
    distance = _unsigned(wrapped)
    scale = torch.maximum(*(_unsigned(n ^ _SIGN) if unsigned else n.double().abs() for n in (x, y)))
    return distance, scale, x == y


def _unsigned(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.double() + (numbers < 0) * 2.0**64
