"""Quantised tensors: whole numbers with a scale and a zero point, of the whole tensor or of each channel.

They are made as PyTorch itself makes them when it loads a file; no public function takes stored numbers.
Those that PyTorch can't copy are float32 here; see `unpacked_tensor.py`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats.pickles.unpacked_tensor import PACKED, Scaling, dequantised_tensor, packed_numbers
from torchgraft.formats.stored_tensor import Storage, contiguous_stride, stored_tensor
from torchgraft.tensors import Index, Span, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["PerChannel", "PerTensor", "quantised_tensor"]

_STORED = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}
_INT64 = 1 << 63
_ZERO_POINTS = {"qint8": (-128, 127), "quint8": (0, 255), "qint32": (-(1 << 31), (1 << 31) - 1)}
_MAX_SCALE = 3.4028234663852886e38  # PyTorch computes in float32


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One scale and zero point: a value is `(stored - zero_point) * scale`."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class PerChannel:
    """A scale and a zero point for each index of one dimension, `axis`."""

    scales: TensorRef
    zero_points: TensorRef
    axis: int


def quantised_tensor(
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    quantiser: PerTensor | PerChannel,
) -> TensorRef | None:
    """A lazy quantised tensor that looks into a storage of a quantised dtype; see `stored_tensor`.

    `None` for a part of a tensor of 4 or 2 bits an element: PyTorch itself gets such wrong.

    Raises:
        CorruptCheckpointError: It does not lie within the storage, or its quantiser does not fit it.
    """
    where = storage.where
    if storage.dtype in PACKED:
        if offset or stride != contiguous_stride(shape):
            return None
        numbers = packed_numbers(storage, shape)
    elif storage.dtype in _STORED:
        numbers = stored_tensor(storage, _STORED[storage.dtype], offset, shape, stride)
    else:
        raise CorruptCheckpointError(f"a quantised tensor over a storage of {storage.dtype}", where=where)
    if isinstance(quantiser, PerChannel):
        axis, scales, zeros = quantiser.axis, quantiser.scales, quantiser.zero_points
        channels = shape[axis : axis + 1] if 0 <= axis < len(shape) else None
        if scales.shape != channels or zeros.shape != channels:
            raise CorruptCheckpointError(
                f"a tensor of shape {shape} with {scales.shape} scales along dimension {axis}", where=where
            )
        if (scales.dtype, zeros.dtype) not in (("float64", "int64"), ("float32", "float32")):
            raise CorruptCheckpointError(
                f"scales of {scales.dtype} with zero points of {zeros.dtype}", where=where
            )
        if storage.dtype in PACKED or zeros.dtype == "float32":
            return dequantised_tensor(numbers, Scaling(scales, zeros, axis))
    elif not (_fits(storage.dtype, quantiser.zero_point) and abs(quantiser.scale) <= _MAX_SCALE):
        raise CorruptCheckpointError("the scale or zero point of a tensor is impossible", where=where)
    elif storage.dtype in PACKED:
        return dequantised_tensor(numbers, Scaling(quantiser.scale, quantiser.zero_point))
    view = _Quantised(where, numbers, storage.dtype, quantiser)
    alias = f"{numbers.alias}:{storage.dtype}:{_identity(quantiser)}" if numbers.alias else None
    return TensorRef("", shape, storage.dtype, fetch=view.fetch, alias=alias, spans=view.spans)


def _fits(dtype: str, zero_point: int) -> bool:
    """Whether PyTorch computes with this zero point; with another it raises an error when values are read."""
    low, high = _ZERO_POINTS.get(dtype, (-_INT64, _INT64 - 1))
    return low <= zero_point <= high


def _identity(quantiser: PerTensor | PerChannel) -> str:
    if isinstance(quantiser, PerTensor):
        return f"{quantiser.scale!r}:{quantiser.zero_point}"
    return f"{quantiser.scales.alias}:{quantiser.zero_points.alias}:{quantiser.axis}"


@dataclass(slots=True, eq=False)
class _Quantised:
    where: str
    numbers: TensorRef
    dtype: str
    quantiser: PerTensor | PerChannel

    def fetch(self, index: Index) -> torch.Tensor:
        import torch

        if not hasattr(torch, "_empty_affine_quantized"):
            raise CheckpointError(
                "this version of PyTorch has no quantised tensors",
                where=self.where,
                hint="install PyTorch 2.14 or an older one to read them",
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*deprecated")
            return self._fetch(index)

    def _fetch(self, index: Index) -> torch.Tensor:
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        numbers = self.numbers.fetch(index)
        if isinstance(self.quantiser, PerTensor):
            empty = torch._empty_affine_quantized(  # noqa: SLF001
                [0], scale=self.quantiser.scale, zero_point=self.quantiser.zero_point, dtype=dtype
            )
            return _over(empty, numbers)
        scales, zeros = self.quantiser.scales.fetch(...), self.quantiser.zero_points.fetch(...)
        axis = self.quantiser.axis
        if scales.numel() and not (
            bool((scales.abs() <= _MAX_SCALE).all())
            and _fits(self.dtype, int(zeros.min()))
            and _fits(self.dtype, int(zeros.max()))
        ):
            raise CorruptCheckpointError(
                "scales or zero points of a tensor's channels are impossible",
                where=self.where,
                hint="download or save it again",
            )
        if index is not ...:
            scales, zeros, axis = self._channels(scales, zeros, index)
        if axis < 0:
            empty = torch._empty_affine_quantized(  # noqa: SLF001
                [0], scale=scales.item(), zero_point=int(zeros.item()), dtype=dtype
            )
            return _over(empty, numbers)
        empty = torch._empty_per_channel_affine_quantized(  # noqa: SLF001
            numbers.shape, scales=scales, zero_points=zeros, axis=axis, dtype=dtype
        )
        return _over(empty, numbers)

    def spans(self) -> list[Span]:
        """Where its numbers are, and its scales and zero points."""
        parts = [self.numbers]
        if isinstance(self.quantiser, PerChannel):
            parts += [self.quantiser.scales, self.quantiser.zero_points]
        return [span for part in parts for span in part.spans()]

    def _channels(
        self, scales: torch.Tensor, zeros: torch.Tensor, index: Index
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """The scales and zero points of what the index selects, and the dimension they belong to; -1: none.

        Both are spread over the tensor's shape without a copy, and then picked like the tensor itself: the
        dimension along which they differ is the channels'.
        """
        shape = self.numbers.shape
        steps = tuple(int(axis == self.quantiser.axis) for axis in range(len(shape)))  # type: ignore[union-attr]
        picked = scales.as_strided(shape, steps)[index], zeros.as_strided(shape, steps)[index]
        along = [axis for axis, step in enumerate(picked[0].stride()) if step]
        if not along:
            return picked[0].flatten()[:1], picked[1].flatten()[:1], -1
        axis = max(along, key=lambda axis: picked[0].shape[axis])  # `None` adds others, of size 1
        for other in reversed([other for other in range(picked[0].dim()) if other != axis]):
            picked = tuple(part.narrow(other, 0, 1).squeeze(other) for part in picked)  # type: ignore[assignment]
        return picked[0].contiguous(), picked[1].contiguous(), axis


def _over(empty: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The quantised tensor over these stored numbers, without a copy of them."""
    import torch

    storage = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
        wrap_storage=numbers.untyped_storage(), dtype=empty.dtype, _internal=True
    )
    return empty.set_(storage, numbers.storage_offset(), numbers.shape, numbers.stride())
