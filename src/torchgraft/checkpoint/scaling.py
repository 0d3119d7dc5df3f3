"""How a quantised weight's numbers become its values: by a scale for all of it, each row or each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Scaling", "blocks_of"]

_USUAL = 128
_LARGEST = 256
_CUT = (16, 32, 64, _USUAL, _LARGEST)


@dataclass(frozen=True, slots=True)
class Scaling:
    """A value is `(number - zero point) * scale`, times `factor`, computed in float32 in this order.

    Attributes:
        scale: The key of the scales in the checkpoint; `None` for PyTorch's own quantised tensors, which
            carry them.
        zero_point: The key of the zero points, which are spread like the scales; `None` where they are 0.
        block: How many neighbours share a scale, along each dimension of the weight.
        factor: What scales are multiplied with after all: 1/127 where they are the largest values of rows.
        rows_first: The key of a number that has to be 0, which says that rows are not interleaved.
    """

    scale: str | None = None
    zero_point: str | None = None
    block: tuple[int, ...] = ()
    factor: float = 1.0
    rows_first: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that it needs beside the weight's own."""
        return tuple(key for key in (self.scale, self.zero_point, self.rows_first) if key is not None)

    def describe(self, dtype: str, shape: Sequence[int]) -> str:
        """Such as `"float8_e4m3fn * weight_scale_inv, blocks of 128x128"`.

        Args:
            dtype: The weight's dtype as it is stored.
            shape: Its shape.
        """
        if self.scale is None:
            return f"{dtype}, dequantised"
        text = f"{dtype} * {self.scale.rpartition('.')[2]}"
        if self.zero_point is not None:
            text = f"({dtype} - {self.zero_point.rpartition('.')[2]}) * {self.scale.rpartition('.')[2]}"
        if self.factor != 1:
            text = f"{text} / {round(1 / self.factor)}"
        whole = [size <= block for block, size in zip(self.block, shape, strict=True)]
        if all(whole):
            return text
        if self.block[0] == 1 and all(whole[1:]):
            return f"{text}, row by row"
        return f"{text}, blocks of {'x'.join(map(str, self.block))}"

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return {
            "scale": self.scale,
            "zero_point": self.zero_point,
            "block": list(self.block),
            "factor": self.factor,
            "rows_first": self.rows_first,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scaling:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: It is damaged.
        """
        keys = [data[name] for name in ("scale", "zero_point", "rows_first")]
        if not all(key is None or isinstance(key, str) for key in keys):
            raise ValueError(f"{keys!r} are no names")
        block = tuple(map(int, data["block"]))
        if any(size < 1 for size in block):
            raise ValueError(f"{list(block)} is no block")
        return cls(keys[0], keys[1], block, float(data["factor"]), keys[2])


def blocks_of(shape: Sequence[int], scales: Sequence[int]) -> tuple[int, ...] | None:
    """How many neighbours along each dimension of a weight of `shape` share one of the scales.

    Scales of fewer dimensions belong to the first ones of the weight: `(out,)` has one for each row. Blocks
    have at most 256 elements on a side: three scales of a fused projection are one for each part of it, and
    the parts need not be equal. If they don't divide the size, so that the last one is cut, they have 16, 32,
    64, 128 or 256. Where 128 fits, as every published checkpoint has it, it is taken.

    Returns:
        The sizes of a block; `None` if the scales don't fit, or fit in two ways.
    """
    if tuple(scales) in ((), (1,)):
        return tuple(max(size, 1) for size in shape)
    if len(scales) > len(shape):
        return None
    counts = (*scales, *(1,) * (len(shape) - len(scales)))
    blocks = [_block(size, count) for size, count in zip(shape, counts, strict=True)]
    known = tuple(block for block in blocks if block is not None)
    if len(known) != len(blocks):
        return None
    one_each = all(block in (1, max(size, 1)) for block, size in zip(known, shape, strict=True))
    return known if one_each or len(scales) == len(shape) else None


def _block(size: int, count: int) -> int | None:
    if count == 1:
        return max(size, 1)
    if count < 1 or count > size:
        return None
    fitting = {block for block in _CUT if -(-size // block) == count}
    if size % count == 0 and size // count <= _LARGEST:
        fitting.add(size // count)
    if _USUAL in fitting:
        return _USUAL
    return fitting.pop() if len(fitting) == 1 else None
