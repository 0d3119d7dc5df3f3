"""The op that makes one row of several, for a class that stands for several old ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.precision import widened
from torchgraft.adapting.row_lengths import common_length, of_length
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["MergedRows"]

_Merge: TypeAlias = Literal["sum", "average"]


@dataclass(frozen=True, slots=True)
class MergedRows:
    """Rows (first dimension) of a classifier's weight or bias, several into one.

    The probability of a class that stands for n old ones is the sum of theirs, Σ softmax(z)ᵢ, whose logit is
    log Σ exp zᵢ. That is no linear function of the features, so that no row gives it exactly. By Jensen's
    inequality it is at least mean(z) + log n, with equality where the n logits are equal:

    | mode | weight | bias |
    |---|---|---|
    | `sum` | the mean of the rows | their mean + log n |
    | `average` | the mean of the rows | their mean |

    `sum` is thus never above the sum of the probabilities (before the other classes are normalised anew), and
    exact for equal rows; the less alike the rows are the further it lies below: by about half the variance
    of the n logits. For sigmoids, whose small probabilities add up to that of any of them, it is the same.
    A head without a bias can't tell the modes apart. Where the old rows all have one length, as in a cosine
    classifier, the merged ones are brought to it.

    Attributes:
        groups: For each new row the old ones.
        source_rows: How many the source has.
        mode: `"sum"` or `"average"`.
    """

    name: ClassVar[str] = "merged-rows"
    needs_base: ClassVar[bool] = False

    groups: tuple[tuple[int, ...], ...]
    source_rows: int
    mode: _Merge = "sum"

    def __post_init__(self) -> None:
        if self.mode not in get_args(_Merge):
            raise AdaptError(f"rows can't be merged in mode {self.mode!r}", hint="use sum or average")
        if not all(self.groups):
            raise AdaptError("a merged row needs at least one row that it is made of")
        beyond = [row for group in self.groups for row in group if not 0 <= row < self.source_rows]
        if beyond:
            raise AdaptError(f"there is no classifier row {beyond[0]}: the source has {self.source_rows}")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> MergedRows | None:
        """The op for a head, if a new class stands for several old ones."""
        rows = change.rows
        if change.role != "head" or rows is None or not rows.merges or not shape:
            return None
        if rows.source_rows != shape[0]:
            return None  # `Rows` says what does not fit
        return cls(rows.merges, rows.source_rows, change.mode(cls.name, "sum", get_args(_Merge)))  # type: ignore[arg-type]  # checked by the class

    def describe(self) -> str:
        """Such as `"118 rows merged into 1, sum"`."""
        several = [group for group in self.groups if len(group) > 1]
        return f"{sum(map(len, several))} rows merged into {len(several)}, {self.mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        if self.mode == "sum":
            return "a merged class gets about the sum of its classes' probabilities, never more"
        return "a merged class gets about the mean of its classes' probabilities"

    def with_mode(self, mode: object) -> MergedRows:
        """The same step in another mode."""
        return replace(self, mode=mode)  # type: ignore[arg-type]  # checked by the class

    def shape(self, source: Shape) -> Shape:
        """`(rows, …)` → `(groups, …)`."""
        return (len(self.groups), *source[1:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The merged rows, computed in float32 or wider, in the source's dtype.

        Raises:
            AdaptError: The tensor has another number of rows.
        """
        import torch

        if tensor.ndim < 1 or tensor.shape[0] != self.source_rows:
            raise AdaptError(
                f"{self.describe()}: a tensor of shape {list(tensor.shape)} has not {self.source_rows} rows"
            )
        wide = widened(tensor)
        more = self.mode == "sum" and tensor.ndim == 1
        length = common_length(wide)
        made = [
            wide[group[0]] if len(group) == 1 else wide[list(group)].mean(dim=0) + more * math.log(len(group))
            for group in self.groups
        ]
        stacked = torch.stack(made)
        return (of_length(stacked, length) if length is not None else stacked).to(tensor.dtype)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """Raises: AdaptError, always: what was merged can't be told apart."""
        raise AdaptError(f"{self.describe()} can't be undone: a row does not say what it was made of")

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        groups = [list(group) for group in self.groups]
        return {"op": self.name, "groups": groups, "source_rows": self.source_rows, "mode": self.mode}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MergedRows:
        """The inverse of `to_json`."""
        groups = tuple(tuple(map(int, group)) for group in data["groups"])
        return cls(groups, int(data["source_rows"]), data["mode"])
