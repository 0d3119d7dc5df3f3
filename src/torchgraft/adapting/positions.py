"""The op that brings a table of an image's positions to another grid, with other tokens before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from torchgraft.adapting.change import Change
from torchgraft.adapting.grids import source_grid
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import Grid, PositionPlace
from torchgraft.adapting.position_layout import (
    Layout,
    Parts,
    layout_of,
    parts_of_table,
    table_of_parts,
    tokens_in,
    with_grid,
)
from torchgraft.adapting.resampling import checked, resampled, resampled_back
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["PositionMode", "Positions"]

PositionMode: TypeAlias = Literal["bicubic", "bilinear", "nearest", "interpolate", "corners"]
"""See `Positions`."""

_EFFECTS = {
    "bicubic": "patches see smoothly resampled positions, as in timm",
    "bilinear": "patches see linearly resampled positions",
    "nearest": "each patch has the nearest old one's position",
    "interpolate": "patches see positions resampled without antialiasing, as in transformers",
    "corners": "patches see positions resampled from corner to corner, as in torchvision",
}


@dataclass(frozen=True, slots=True)
class Positions:
    """Absolute positions of an image's patches, resampled to another grid.

    The rows of the patches are laid out as a map of their grid and resampled as an image; those of the tokens
    before and after them (class, distillation, registers) are carried over as they are. Such a token that the
    source had no row for gets zeros, which add nothing to the token itself; one that the model has not is
    dropped.

    | mode | how the map is resampled | what it equals |
    |---|---|---|
    | `bicubic` | cubic (a = −0.5), antialiased | timm's `resample_abs_pos_embed`, to the bit |
    | `bilinear` | linear, antialiased | the same with `interpolation="bilinear"`, to the bit |
    | `nearest` | the nearest centre's value | `torch.nn.functional.interpolate(mode="nearest-exact")` |
    | `interpolate` | cubic (a = −0.75), centres aligned | transformers' and DINOv2's own, to the bit |
    | `corners` | cubic (a = −0.75), corners aligned | torchvision's `interpolate_embeddings`, to the bit |

    Resampling positions for another image size goes back to Dosovitskiy et al., An Image is Worth 16x16 Words
    (2021), §3.2. Shapes: `(1, N, D)` and `(N, D)` for N tokens, `(1, rows, columns, D)`,
    `(1, D, rows, columns)`, also without the leading 1.

    Attributes:
        source: The checkpoint's grid.
        target: The model's.
        prefix: For each token before the model's patches the checkpoint's, or `None` for zeros.
        layout: Whether the positions stand in a row of `"tokens"`, or in a map with its channels `"last"` or
            `"first"`.
        mode: A mode's name.
    """

    name: ClassVar[str] = "positions"
    needs_base: ClassVar[bool] = False

    source: Grid
    target: Grid
    prefix: tuple[int | None, ...] = ()
    layout: Layout = "tokens"
    mode: str = "bicubic"

    def __post_init__(self) -> None:
        checked(self.mode, PositionMode)
        known = range(self.source.prefix)
        if len(self.prefix) != self.target.prefix or not {*self.prefix} <= {*known, None}:
            raise AdaptError(
                f"{list(self.prefix)} does not say which of {self.source.prefix} tokens before the patches "
                f"each of {self.target.prefix} is"
            )

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Positions | None:
        """The op for a table of positions whose grid in the model is known.

        Raises:
            AdaptError: The source's grid can't be told; the hint shows how to say it.
        """
        place = change.place
        if not isinstance(place, PositionPlace) or place.sines or not isinstance(place.target, Grid):
            return None
        layout = layout_of(change.target, place.target)
        if layout is None or len(shape) < (2 if layout == "tokens" else 3):
            return None
        source = place.source or source_grid(shape, layout, place)
        if not isinstance(source, Grid) or source == place.target:
            return None
        if tokens_in(shape, layout) != tokens_in(with_grid(shape, layout, source), layout):
            raise AdaptError(f"a table of shape {list(shape)} does not hold the positions {source}")
        mode = checked(change.mode(cls.name, "bicubic"), PositionMode)
        return cls(source, place.target, place.carried(source.prefix), layout, mode)

    def describe(self) -> str:
        """Such as `"positions 1+14x14→1+24x24, bicubic"`."""
        text = f"positions {self.source}→{self.target}"
        return f"{text}, {self.mode}" if self._resized else text

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        dropped = self.source.prefix - len({*self.prefix} - {None})
        added = self.prefix.count(None)
        parts = [
            _EFFECTS[self.mode] if self._resized else "patches keep their positions",
            f"{dropped} of another kind of token dropped" if dropped else "",
            f"{added} of new tokens zero" if added else "",
        ]
        return ", ".join(part for part in parts if part)

    def with_mode(self, mode: object) -> Positions:
        """The same step in another mode."""
        return replace(self, mode=checked(mode, PositionMode))

    def shape(self, source: Shape) -> Shape:
        """Other tokens, the rest as it was."""
        if source != with_grid(source, self.layout, self.source):
            raise AdaptError(f"{self.describe()}: a table of shape {list(source)}")
        return with_grid(source, self.layout, self.target)

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The table for the model's grid, computed in float32 or wider, in the source's dtype.

        Raises:
            AdaptError: The tensor is no such table.
        """
        old = parts_of_table(tensor, self.layout, self.source, self.describe())
        patches = old.patches
        if self._resized:
            patches = resampled(patches, (self.target.rows, self.target.columns), self.mode)
        new = Parts(
            _picked(old.before, self.prefix), patches, _picked(old.after, _in_order(self.source, self.target))
        )
        return table_of_parts(new, self.layout, with_grid(tuple(tensor.shape), self.layout, self.target))

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The table for the source's grid.

        An enlarged grid is had back, up to rounding, so long as what lies between the old positions was not
        trained. Rows that were dropped come from `base`.

        Raises:
            AdaptError: The grid was made smaller or has been trained since, or rows were dropped and there is
                no `base`.
        """
        doing = self.describe()
        now = parts_of_table(tensor, self.layout, self.target, doing)
        patches = now.patches
        if self._resized:
            patches = resampled_back(patches, (self.source.rows, self.source.columns), self.mode, doing)
        old = parts_of_table(base, self.layout, self.source, doing) if base is not None else None
        back = Parts(
            _put_back(now.before, self.prefix, self.source.prefix, old.before if old else None, doing),
            patches,
            _put_back(
                now.after,
                _in_order(self.source, self.target),
                self.source.suffix,
                old.after if old else None,
                doing,
            ),
        )
        return table_of_parts(back, self.layout, with_grid(tuple(tensor.shape), self.layout, self.source))

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {
            "op": self.name,
            "source": self.source.to_json(),
            "target": self.target.to_json(),
            "prefix": list(self.prefix),
            "layout": self.layout,
            "mode": self.mode,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Positions:
        """The inverse of `to_json`."""
        prefix = tuple(None if row is None else int(row) for row in data["prefix"])
        layout = checked(data["layout"], Layout)
        grids = (Grid.from_json(data["source"]), Grid.from_json(data["target"]))
        return cls(*grids, prefix, layout, str(data["mode"]))

    @property
    def _resized(self) -> bool:
        return (self.source.rows, self.source.columns) != (self.target.rows, self.target.columns)


def _in_order(source: Grid, target: Grid) -> tuple[int | None, ...]:
    return tuple(row if row < source.suffix else None for row in range(target.suffix))


def _picked(rows: torch.Tensor, places: tuple[int | None, ...]) -> torch.Tensor:
    """Of `(L, n, D)` the rows named, zeros for `None`."""
    import torch

    new = [
        rows.new_zeros(rows[:, :0].shape[0], rows.shape[2]) if row is None else rows[:, row] for row in places
    ]
    return torch.stack(new, dim=1) if new else rows[:, :0]


def _put_back(
    rows: torch.Tensor, places: tuple[int | None, ...], count: int, base: torch.Tensor | None, doing: str
) -> torch.Tensor:
    missing = sorted({*range(count)} - {*places})
    if missing and base is None:
        raise AdaptError(
            f"{doing}: {len(missing)} rows of other tokens were dropped",
            hint="give the tensor that holds them as `base`",
        )
    taken = _picked(rows, tuple(places.index(row) if row in places else None for row in range(count)))
    for row in missing:
        assert base is not None
        taken[:, row] = base[:, row]
    return taken
