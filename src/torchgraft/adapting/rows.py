"""The op that carries a classifier's rows over to another set of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Rows"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows (first dimension) of a classifier's weight or bias, picked by class.

    Rows without a source keep the value the model initialised them with (`base`).

    Attributes:
        rows: For each new row the source's row, or `None`.
        source_rows: How many the source has.
    """

    name: ClassVar[str] = "rows"

    rows: tuple[int | None, ...]
    source_rows: int

    def __post_init__(self) -> None:
        beyond = [row for row in self.rows if row is not None and not 0 <= row < self.source_rows]
        if beyond:
            raise AdaptError(f"there is no classifier row {beyond[0]}: the source has {self.source_rows}")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Rows | None:
        """The op for a head, if it is known which row is which class."""
        rows = change.rows
        if change.role != "head" or rows is None or len(shape) != len(change.target) or not shape:
            return None
        if rows.identity and shape[0] == change.target[0]:
            return None
        if (rows.source_rows, len(rows.rows)) != (shape[0], change.target[0]):
            raise AdaptError(
                f"{rows.source_rows} and {len(rows.rows)} class names don't fit a head of {shape[0]} and "
                f"{change.target[0]} rows",
            )
        if not rows.carried:
            raise AdaptError(
                f"none of the {len(rows.rows)} class names is among the source's {rows.source_rows}",
                hint='let the head start fresh: allow_fresh="head"',
            )
        return cls(rows.rows, rows.source_rows)

    @property
    def needs_base(self) -> bool:
        """Whether some rows have no source."""
        return None in self.rows

    def describe(self) -> str:
        """Such as `"rows 1000→10 by class name, 8 carried, 2 fresh"`."""
        fresh = self.rows.count(None)
        text = f"rows {self.source_rows}→{len(self.rows)} by class name, {len(self.rows) - fresh} carried"
        return f"{text}, {fresh} fresh" if fresh else text

    def shape(self, source: Shape) -> Shape:
        """`(rows, …)` → `(new rows, …)`."""
        return (len(self.rows), *source[1:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The new rows; in the wider of both dtypes, so that fresh rows are not rounded to the source's.

        Raises:
            AdaptError: A shape does not fit, or rows are fresh and there is no `base`.
        """
        return _pick(self.describe(), tensor, self.source_rows, self.rows, base)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The rows back in the source's order.

        Rows that were not carried over come from `base`; rows of classes it does not have are left out.

        Raises:
            AdaptError: The source has rows that were not carried over, and there is no `base`.
        """
        places: list[int | None] = [None] * self.source_rows
        for new, old in enumerate(self.rows):
            if old is not None and places[old] is None:
                places[old] = new
        return _pick(f"undoing {self.describe()}", tensor, len(self.rows), tuple(places), base)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {"op": self.name, "rows": list(self.rows), "source_rows": self.source_rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rows:
        """The inverse of `to_json`."""
        rows = tuple(None if row is None else int(row) for row in data["rows"])
        return cls(rows, int(data["source_rows"]))


def _pick(
    doing: str, tensor: torch.Tensor, height: int, rows: tuple[int | None, ...], base: torch.Tensor | None
) -> torch.Tensor:
    import torch

    if tensor.ndim < 1 or tensor.shape[0] != height:
        raise AdaptError(f"{doing}: a tensor of shape {list(tensor.shape)} has not {height} rows")
    wanted = (len(rows), *tensor.shape[1:])
    pairs = [(new, old) for new, old in enumerate(rows) if old is not None]
    olds = torch.tensor([old for _, old in pairs], dtype=torch.long, device=tensor.device)
    if len(pairs) == len(rows):
        return tensor.index_select(0, olds)
    if base is None:
        raise AdaptError(
            f"{doing}: {len(rows) - len(pairs)} of {len(rows)} rows have nothing to take them from",
            hint="give the tensor that holds them as `base`",
        )
    if tuple(base.shape) != wanted:
        raise AdaptError(f"{doing}: the base has shape {list(base.shape)}, {list(wanted)} is needed")
    result = base.detach().to(
        device=tensor.device, dtype=torch.promote_types(tensor.dtype, base.dtype), copy=True
    )
    news = torch.tensor([new for new, _ in pairs], dtype=torch.long, device=tensor.device)
    return result.index_copy_(0, news, tensor.index_select(0, olds).to(result.dtype))
