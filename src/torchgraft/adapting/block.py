"""The op that takes a run of rows out of a fused weight: the query out of `qkv`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Block"]


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring rows (first dimension) of a tensor.

    Attributes:
        start: The first row.
        stop: The row after the last.
        rows: How many the source has.
    """

    name: ClassVar[str] = "block"
    needs_base: ClassVar[bool] = False

    start: int
    stop: int
    rows: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= self.rows:
            raise AdaptError(f"there are no rows {self.start} to {self.stop} in {self.rows}")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> None:  # noqa: ARG003  # the protocol's; shapes can't tell
        """None: a shape never shows which rows are meant."""
        return

    def describe(self) -> str:
        """Such as `"rows 768 to 1535 of 2304"`."""
        return f"rows {self.start} to {self.stop - 1} of {self.rows}"

    def shape(self, source: Shape) -> Shape:
        """Fewer rows."""
        if not source or source[0] != self.rows:
            raise AdaptError(f"{self.describe()}: a tensor of shape {list(source)}")
        return (self.stop - self.start, *source[1:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """A view of the rows.

        Raises:
            AdaptError: The tensor has another number of rows.
        """
        self.shape(tuple(tensor.shape))
        return tensor[self.start : self.stop]

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """`base` with these rows replaced.

        Raises:
            AdaptError: There is no `base`, or a shape does not fit.
        """
        if base is None:
            raise AdaptError(
                f"undoing {self.describe()}: the other rows are unknown",
                hint="give the tensor that holds them as `base`",
            )
        if self.shape(tuple(base.shape)) != tuple(tensor.shape):
            raise AdaptError(
                f"undoing {self.describe()}: shape {list(tensor.shape)} does not fit into {list(base.shape)}"
            )
        whole = base.detach().clone()
        whole[self.start : self.stop] = tensor.to(whole.dtype)
        return whole

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {"op": self.name, "start": self.start, "stop": self.stop, "rows": self.rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Block:
        """The inverse of `to_json`."""
        return cls(int(data["start"]), int(data["stop"]), int(data["rows"]))
