"""The op that computes a sin-cos table of positions anew: a formula needs no resampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.grids import source_grid
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import Grid, Line, PositionPlace
from torchgraft.adapting.precision import widened
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["SinePositions", "sine_formula"]

_FORMULAS = (
    "columns-rows",
    "rows-columns",
    "columns-rows-inclusive",
    "rows-columns-inclusive",
    "halves",
    "halves-inclusive",
    "interleaved",
)
_TOLERANCE = 2e-3  # what half precision leaves of a sine


@dataclass(frozen=True, slots=True)
class SinePositions:
    """A fixed table of sines and cosines, computed for another number of positions.

    With a position p and frequencies ω_i = 10000^(−i/n), i = 0 … n − 1 (`inclusive`: 10000^(−i/(n − 1))):

    | formula | row |
    |---|---|
    | `halves` | sin pω_0 … sin pω_(n−1), cos pω_0 … cos pω_(n−1), for n = D/2 |
    | `interleaved` | sin pω_0, cos pω_0, sin pω_1, … |
    | `columns-rows` | `halves` of the column, then `halves` of the row, for n = D/4 |
    | `rows-columns` | `halves` of the row, then of the column |

    Sources:
        `interleaved` is that of Vaswani et al., Attention Is All You Need (2017), §3.5; `columns-rows` is
        MAE's (He et al., 2022), `rows-columns` transformers' of it; `columns-rows-inclusive` is the plain
        ViT's of Beyer et al. (2022); `halves-inclusive` is tensor2tensor's and Whisper's.

    Attributes:
        formula: Its name.
        source: The checkpoint's grid, or its positions in a line. Rows before a grid are carried over.
        target: The model's.
    """

    name: ClassVar[str] = "sin-cos"
    needs_base: ClassVar[bool] = False

    formula: str
    source: Grid | Line
    target: Grid | Line

    def __post_init__(self) -> None:
        if self.formula not in _FORMULAS:
            raise AdaptError(f"there is no formula {self.formula!r}", hint=f"known: {', '.join(_FORMULAS)}")
        if {type(self.source), type(self.target)} != {Grid if "columns" in self.formula else Line}:
            raise AdaptError(f"{self.formula} is no formula for {self.source}→{self.target}")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> SinePositions | None:
        """The op where the source's values are known to be such a table."""
        place = change.place
        if not isinstance(place, PositionPlace) or place.sines is None or len(shape) < 2:
            return None
        if shape[-1] != change.target[-1] or change.target[-2] != place.target.tokens:
            return None
        if isinstance(place.target, Line):
            return cls(place.sines, Line(shape[-2]), Line(change.target[-2]))
        return cls(place.sines, place.source or source_grid(shape, "tokens", place), place.target)

    def describe(self) -> str:
        """Such as `"sin-cos 1+14x14→1+24x24, computed anew"`."""
        return f"sin-cos {self.source}→{self.target}, computed anew"

    def shape(self, source: Shape) -> Shape:
        """Another number of rows."""
        if len(source) < 2 or source[-2] != self.source.tokens:
            raise AdaptError(f"{self.describe()}: a table of shape {list(source)}")
        return (*source[:-2], self.target.tokens, source[-1])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The table for the model's positions, in the source's dtype.

        Raises:
            AdaptError: The tensor is no such table, or its values are others: it has been trained.
        """
        return self._anew(tensor, self.source, self.target)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The table for the source's positions.

        Raises:
            AdaptError: As `apply`.
        """
        return self._anew(tensor, self.target, self.source)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        kind = "grid" if isinstance(self.source, Grid) else "line"
        source, target = (
            place.to_json() if isinstance(place, Grid) else place.length
            for place in (self.source, self.target)
        )
        return {"op": self.name, "formula": self.formula, "kind": kind, "source": source, "target": target}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SinePositions:
        """The inverse of `to_json`."""
        if data["kind"] == "grid":
            return cls(data["formula"], Grid.from_json(data["source"]), Grid.from_json(data["target"]))
        return cls(data["formula"], Line(int(data["source"])), Line(int(data["target"])))

    def _anew(self, tensor: torch.Tensor, old: Grid | Line, new: Grid | Line) -> torch.Tensor:
        import torch

        if tensor.ndim < 2 or tensor.shape[-2] != old.tokens:
            raise AdaptError(f"{self.describe()}: a table of shape {list(tensor.shape)}")
        rows = tensor.reshape(-1, tensor.shape[-1])
        if not tensor.is_meta and not _equals(rows, self.formula, old):
            raise AdaptError(f"{self.describe()}: its values have been trained, and are no sines now")
        made = _table(self.formula, new, tensor.shape[-1]).to(tensor)
        before = rows[: old.prefix] if isinstance(old, Grid) else rows[:0]
        if isinstance(new, Grid):
            kept = before[: new.prefix]
            made = torch.cat([kept, made.new_zeros(new.prefix - len(kept), made.shape[1]), made])
        return made.reshape(*tensor.shape[:-2], new.tokens, tensor.shape[-1])


def sine_formula(table: torch.Tensor, places: tuple[Grid | Line, ...]) -> str | None:
    """The formula that a table `(…, N, D)` was computed by for one of these places, if it was."""
    rows = table.reshape(-1, table.shape[-1])
    if rows.shape[1] % 4 or not rows.is_floating_point() or float(widened(rows).abs().max()) > 1 + _TOLERANCE:
        return None
    for place in places:
        for formula in _FORMULAS:
            if isinstance(place, Grid) == ("columns" in formula) and _equals(rows, formula, place):
                return formula
    return None


def _equals(rows: torch.Tensor, formula: str, place: Grid | Line) -> bool:
    if len(rows) != place.tokens or (isinstance(place, Grid) and place.suffix):
        return False
    made = _table(formula, place, rows.shape[1])
    return float((widened(rows[len(rows) - len(made) :]).cpu() - made).abs().max()) <= _TOLERANCE


def _table(formula: str, place: Grid | Line, width: int) -> torch.Tensor:
    """The rows of the positions alone, in float64 on the CPU."""
    import torch

    with torch.device("cpu"):
        return _computed(formula, place, width)


def _computed(formula: str, place: Grid | Line, width: int) -> torch.Tensor:
    import torch

    inclusive = formula.endswith("-inclusive")
    if isinstance(place, Line):
        if formula == "interleaved":
            both = _halves(place.length, width, inclusive)
            return both.reshape(place.length, 2, -1).transpose(1, 2).flatten(1)
        return _halves(place.length, width, inclusive)
    rows = _halves(place.rows, width // 2, inclusive)[:, None].expand(-1, place.columns, -1)
    columns = _halves(place.columns, width // 2, inclusive)[None].expand(place.rows, -1, -1)
    pair = [columns, rows] if formula.startswith("columns") else [rows, columns]
    return torch.cat(pair, dim=2).flatten(0, 1)


def _halves(count: int, width: int, inclusive: bool) -> torch.Tensor:
    import torch

    n = width // 2
    steps = torch.arange(n, dtype=torch.float64) / max(n - 1 if inclusive else n, 1)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * 10000.0**-steps
    return torch.cat([angles.sin(), angles.cos()], dim=1)
