"""The op that makes a table of a text's positions longer or shorter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import Line, PositionPlace
from torchgraft.adapting.resampling import checked, resampled, resampled_back
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["TextPositionMode", "TextPositions"]

TextPositionMode: TypeAlias = Literal["repeat", "first", "linear"]
"""See `TextPositions`."""


@dataclass(frozen=True, slots=True)
class TextPositions:
    """Absolute positions of a text or signal, N→M: a table `(N, D)` or `(1, N, D)`.

    | mode | row j of the new table |
    |---|---|
    | `repeat` | the old row j mod N |
    | `first` | the old row j; from N on the model's own |
    | `linear` | linear between the old rows, centres aligned |

    `repeat` and `first` keep what the model does with texts of up to min(N, M) tokens, bit for bit. Rows that
    are no position (RoBERTa counts from 2) are carried over and not counted.

    Sources:
        `repeat` is how Longformer was made from RoBERTa (Beltagy et al., 2020, §5). `linear` equals
        `torch.nn.functional.interpolate(mode="linear")`; stretching positions is the idea of Chen et al.,
        Extending Context Window of Large Language Models via Positional Interpolation (2023).

    Attributes:
        source: The checkpoint's positions.
        target: The model's, with as many rows that are no position.
        mode: A mode's name.
    """

    name: ClassVar[str] = "text-positions"

    source: Line
    target: Line
    mode: str = "repeat"

    def __post_init__(self) -> None:
        checked(self.mode, TextPositionMode)
        if self.source.offset != self.target.offset:
            raise AdaptError(
                f"the checkpoint counts from {self.source.offset}, the model from {self.target.offset}"
            )

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> TextPositions | None:
        """The op for a table of positions in a line."""
        place = change.place
        if not isinstance(place, PositionPlace) or place.sines or not isinstance(place.target, Line):
            return None
        if len(shape) < 2 or shape[-1] != change.target[-1] or shape[-2] <= place.target.offset:
            return None
        source = place.source or Line(shape[-2] - place.target.offset, place.target.offset)
        if not isinstance(source, Line) or source == place.target or source.tokens != shape[-2]:
            return None
        return cls(source, place.target, checked(change.mode(cls.name, "repeat"), TextPositionMode))

    @property
    def needs_base(self) -> bool:
        """Whether further rows are the model's own."""
        return self.mode == "first" and self.target.length > self.source.length

    def describe(self) -> str:
        """Such as `"positions 512→1024, repeat"`."""
        return f"positions {self.source}→{self.target}, {self.mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        if self.mode == "linear":
            return "texts see stretched positions"
        return f"texts of up to {min(self.source.length, self.target.length)} tokens see the same positions"

    def with_mode(self, mode: object) -> TextPositions:
        """The same step in another mode."""
        return replace(self, mode=checked(mode, TextPositionMode))

    def shape(self, source: Shape) -> Shape:
        """Another number of rows."""
        if len(source) < 2 or source[-2] != self.source.tokens:
            raise AdaptError(f"{self.describe()}: a table of shape {list(source)}")
        return (*source[:-2], self.target.tokens, source[-1])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The new table, in the source's dtype.

        Raises:
            AdaptError: The tensor is no such table, or rows are the model's own and there is no `base`.
        """
        import torch

        wanted = self.shape(tuple(tensor.shape))
        head, rows = tensor[..., : self.source.offset, :], tensor[..., self.source.offset :, :]
        n, m = self.source.length, self.target.length
        if self.mode == "linear":
            return torch.cat([head, _resized(rows, m)], dim=-2)
        if not self.needs_base:
            places = torch.arange(m, device=tensor.device) % n
            return torch.cat([head, rows.index_select(-2, places)], dim=-2)
        if base is None or tuple(base.shape) != wanted:
            raise AdaptError(
                f"{self.describe()}: {m - n} rows have nothing to take them from",
                hint=f"give the model's own table, of shape {list(wanted)}, as `base`",
            )
        further = base.detach()[..., self.target.tokens - (m - n) :, :]
        return torch.cat([tensor, further.to(tensor)], dim=-2)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The old table.

        Positions that the checkpoint has not are left out: it is for shorter texts.

        Raises:
            AdaptError: Rows were dropped and there is no `base`, or a stretched table was trained since.
        """
        import torch

        if tensor.ndim < 2 or tensor.shape[-2] != self.target.tokens:
            raise AdaptError(f"undoing {self.describe()}: a table of shape {list(tensor.shape)}")
        n, m, offset = self.source.length, self.target.length, self.source.offset
        if self.mode == "linear":
            maps = _as_map(tensor[..., offset:, :])
            back = _as_rows(resampled_back(maps, (n, 1), "linear", self.describe()), tensor)
            return torch.cat([tensor[..., :offset, :], back], dim=-2)
        if m >= n:
            return tensor[..., : self.source.tokens, :]
        if base is None or base.shape[-2] != self.source.tokens:
            raise AdaptError(
                f"undoing {self.describe()}: {n - m} rows were dropped",
                hint="give the tensor that holds them as `base`",
            )
        return torch.cat([tensor, base[..., self.target.tokens :, :].to(tensor)], dim=-2)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        lengths = {"source": self.source.length, "target": self.target.length, "offset": self.source.offset}
        return {"op": self.name, **lengths, "mode": self.mode}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TextPositions:
        """The inverse of `to_json`."""
        offset = int(data["offset"])
        return cls(Line(int(data["source"]), offset), Line(int(data["target"]), offset), str(data["mode"]))


def _resized(rows: torch.Tensor, length: int) -> torch.Tensor:
    return _as_rows(resampled(_as_map(rows), (length, 1), "linear"), rows)


def _as_map(rows: torch.Tensor) -> torch.Tensor:
    return rows.reshape(1, -1, rows.shape[-1]).transpose(1, 2)[..., None]


def _as_rows(maps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return maps[..., 0].transpose(1, 2).reshape(*like.shape[:-2], -1, like.shape[-1])
