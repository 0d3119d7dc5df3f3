"""The op that brings a table of relative position biases to another window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import Window, WindowPlace
from torchgraft.adapting.resampling import checked, resampled, resampled_back
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["RelativePositionMode", "RelativePositions"]

RelativePositionMode: TypeAlias = Literal["geometric", "interpolate", "bicubic", "bilinear"]
"""See `RelativePositions`."""

_EFFECTS = {
    "geometric": "near patches are biased as before, far ones like the farthest known, as in timm",
    "interpolate": "biases are stretched with the window, as Swin's authors do",
    "bicubic": "biases are stretched with the window, antialiased",
    "bilinear": "biases are stretched linearly with the window",
}


@dataclass(frozen=True, slots=True)
class RelativePositions:
    """Biases by the offset of two tokens within a window of h×w, resampled for another window.

    A table is flat, `((2h − 1)(2w − 1) + extra, heads)`, or a map, `(heads, 2h − 1, 2w − 1)`. Extra entries
    are BEiT's three for the class token; they are carried over.

    | mode | how the map of offsets is resampled | what it equals |
    |---|---|---|
    | `geometric` | linear between offsets at 0, ±1, ±(1+q), … | timm's `resize_rel_pos_bias_table`, 1e-5 |
    | `interpolate` | cubic (a = −0.75), centres aligned | timm's `…_simple`, to the bit |
    | `bicubic` | cubic (a = −0.5), antialiased | timm's `…_levit`, to the bit |
    | `bilinear` | linear, antialiased | `torch.nn.functional.interpolate(antialias=True)` |

    Sources:
        `geometric` is BEiT's fine-tuning code (Bao et al., 2022), timm's default for BEiT and Swin;
        `interpolate` is Swin's (Liu et al., 2021, and the code that goes with it).

    Attributes:
        source: The checkpoint's window.
        target: The model's, with as many extra entries.
        mode: A mode's name.
    """

    name: ClassVar[str] = "relative-positions"
    needs_base: ClassVar[bool] = False

    source: Window
    target: Window
    mode: str = "geometric"

    def __post_init__(self) -> None:
        checked(self.mode, RelativePositionMode)
        if self.source.extra != self.target.extra:
            raise AdaptError(
                f"{self.source.extra} biases of class tokens in the checkpoint, {self.target.extra} here"
            )

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> RelativePositions | None:
        """The op for a table whose window in the model is known; the source's is taken to be square.

        Raises:
            AdaptError: The source's window can't be told.
        """
        place = change.place
        if not isinstance(place, WindowPlace) or len(shape) != len(change.target):
            return None
        source = place.source or _source_window(shape, place.target)
        if source is None or source == place.target:
            return None
        if shape not in ((source.entries, change.target[-1]), (change.target[0], *source.offsets)):
            raise AdaptError(f"a table of shape {list(shape)} is not for a window of {source}")
        mode = checked(change.mode(cls.name, "geometric"), RelativePositionMode)
        return cls(source, place.target, mode)

    def describe(self) -> str:
        """Such as `"window 7x7→12x12, geometric"`."""
        return f"window {self.source}→{self.target}, {self.mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        return _EFFECTS[self.mode]

    def with_mode(self, mode: object) -> RelativePositions:
        """The same step in another mode."""
        return replace(self, mode=checked(mode, RelativePositionMode))

    def shape(self, source: Shape) -> Shape:
        """Biases for other offsets, the heads as they were."""
        return self._shape(source, self.source, self.target)

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The table for the model's window, computed in float32 or wider, in the source's dtype.

        Raises:
            AdaptError: The tensor is no such table.
        """
        self.shape(tuple(tensor.shape))
        maps = resampled(self._map(tensor, self.source), self.target.offsets, self.mode)
        return self._table(maps, tensor, self.source)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The table for the source's window.

        Raises:
            AdaptError: It had offsets that are lost, or what is between the old ones was trained since.
        """
        self._shape(tuple(tensor.shape), self.target, self.source)
        maps = resampled_back(self._map(tensor, self.target), self.source.offsets, self.mode, self.describe())
        return self._table(maps, tensor, self.target)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        windows = {
            side: [window.rows, window.columns]
            for side, window in zip(("source", "target"), (self.source, self.target), strict=True)
        }
        return {"op": self.name, **windows, "extra": self.source.extra, "mode": self.mode}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RelativePositions:
        """The inverse of `to_json`."""
        (a, b), (c, d), extra = data["source"], data["target"], int(data["extra"])
        return cls(Window(int(a), int(b), extra), Window(int(c), int(d), extra), str(data["mode"]))

    def _shape(self, shape: Shape, old: Window, new: Window) -> Shape:
        if len(shape) == 2 and shape[0] == old.entries:
            return (new.entries, shape[1])
        if len(shape) == 3 and shape[1:] == old.offsets and not old.extra:
            return (shape[0], *new.offsets)
        raise AdaptError(f"{self.describe()}: a table of shape {list(shape)}")

    def _map(self, table: torch.Tensor, window: Window) -> torch.Tensor:
        """`(1, heads, offsets, offsets)`."""
        if table.ndim == 3:
            return table[None]
        flat = table[: window.entries - window.extra]
        return flat.t().reshape(1, -1, *window.offsets)

    def _table(self, maps: torch.Tensor, like: torch.Tensor, old: Window) -> torch.Tensor:
        import torch

        if like.ndim == 3:
            return maps[0]
        rows = maps[0].flatten(1).t()
        return torch.cat([rows, like[old.entries - old.extra :]]) if old.extra else rows


def _source_window(shape: Shape, target: Window) -> Window | None:
    """The square window, or the one of the model's proportions, that a table of this shape is for."""
    if len(shape) == 3:
        rows, columns = shape[1:]
        return Window((rows + 1) // 2, (columns + 1) // 2) if rows % 2 and columns % 2 else None
    offsets = shape[0] - target.extra
    side = math.isqrt(max(offsets, 0))
    if side * side == offsets and side % 2:
        return Window((side + 1) // 2, (side + 1) // 2, target.extra)
    raise AdaptError(
        f"{shape[0]} relative positions are those of no square window"
        + (f" and {target.extra} class entries" if target.extra else ""),
        hint='say it: modes={"relative-positions": {"window": [rows, columns]}}',
    )
