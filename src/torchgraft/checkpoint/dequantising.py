"""Quantised weights as lazy float32 tensors: a part of one reads its own numbers and the scales, no more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.checkpoint.checkpoint import Checkpoint
from torchgraft.checkpoint.scaling import Scaling
from torchgraft.errors import CheckpointError
from torchgraft.formats.picked_ranges import picked_ranges
from torchgraft.tensors import Index, Span, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["dequantised"]

_AT_ONCE = 1 << 20
"""Elements whose scales are spread out at once: those of a large weight would take as much as the weight."""


def dequantised(
    checkpoint: Checkpoint, scalings: Mapping[str, Scaling], without: Collection[str] = ()
) -> Checkpoint:
    """The checkpoint with float32 weights in place of quantised ones, and without their scales.

    Args:
        checkpoint: As the file has it.
        scalings: How to dequantise, by the key of the weight; one whose tensors are not all there stays.
        without: Further tensors to leave out.
    """
    known = {
        key: scaling
        for key, scaling in scalings.items()
        if key in checkpoint and all(part in checkpoint for part in scaling.keys)
    }
    if not known and not without:
        return checkpoint
    gone = {part for scaling in known.values() for part in scaling.keys}.union(without)
    return checkpoint.holding(
        {
            key: _lazy(ref, known[key], checkpoint) if key in known else ref
            for key, ref in checkpoint.items()
            if key not in gone
        }
    )


def _lazy(ref: TensorRef, scaling: Scaling, checkpoint: Mapping[str, TensorRef]) -> TensorRef:
    parts = {key: checkpoint[key] for key in scaling.keys}
    view = _Dequantised(ref, scaling, parts)
    aliases = [part.alias for part in (ref, *parts.values())]
    alias = ":".join(["float32", *map(str, aliases)]) if None not in aliases else None
    return TensorRef(ref.name, ref.shape, "float32", fetch=view.fetch, alias=alias, spans=view.spans)


@dataclass(slots=True, eq=False)
class _Dequantised:
    ref: TensorRef
    scaling: Scaling
    parts: Mapping[str, TensorRef]

    def spans(self) -> list[Span]:
        """Where its numbers and scales are."""
        return [span for part in (self.ref, *self.parts.values()) for span in part.spans()]

    def fetch(self, index: Index) -> torch.Tensor:
        if self.scaling.scale is None:
            return self.ref.fetch(index).dequantize()
        picks = picked_ranges(index, self.ref.shape)
        if picks is None:  # an index of an uncommon kind
            return self.fetch(...)[index]
        self._check_form()
        stored = self.ref.fetch(index)
        values = stored.float()
        scales = _read(self.parts[self.scaling.scale])
        zeros = self.scaling.zero_point and _read(self.parts[self.scaling.zero_point])
        rows = values.reshape([len(pick) for pick in picks])
        step = max(1, _AT_ONCE * len(picks[0]) // max(1, rows.numel())) if picks else 1
        for start in range(0, len(picks[0]) if picks else 1, step):
            part = rows[start : start + step] if picks else rows
            wanted = [picks[0][start : start + step], *picks[1:]] if picks else []
            if isinstance(zeros, type(scales)):
                part.sub_(self._spread(zeros, wanted).to(part.device))
            part.mul_(self._spread(scales, wanted).to(part.device))
            if self.scaling.factor != 1:
                part.mul_(self.scaling.factor)
        return rows.view(stored.shape)

    def _spread(self, scales: torch.Tensor, picks: Sequence[range]) -> torch.Tensor:
        """Those of the scales that these positions take; where all take the same, one."""
        import torch

        scales = scales.reshape(tuple(scales.shape) + (1,) * (len(picks) - scales.ndim))
        if len(picks) == 0:
            return scales.reshape(())
        if scales.numel() == 1:
            return scales.reshape((1,) * len(picks))
        for axis, (pick, block) in enumerate(zip(picks, self.scaling.block, strict=True)):
            if scales.shape[axis] > 1:
                places = torch.tensor(pick, dtype=torch.long, device=scales.device) // block
                scales = scales.index_select(axis, places)
        return scales

    def _check_form(self) -> None:
        key = self.scaling.rows_first
        if key is not None and bool(self.parts[key].view().any()):
            raise CheckpointError(
                "its rows are interleaved for a graphics card, in a form that is not read here",
                where=self.ref.name,
                hint="save it with bitsandbytes 0.45 or newer, which stores rows as they are",
            )


def _read(ref: TensorRef) -> torch.Tensor:
    """Scales or zero points in float32; bytes are exponents of two."""
    import torch

    stored = ref.view()
    if stored.dtype == torch.uint8 and hasattr(torch, "float8_e8m0fnu"):
        return stored.view(torch.float8_e8m0fnu).float()
    return stored.float()
