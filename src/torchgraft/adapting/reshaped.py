"""The op for the same numbers in other brackets: `(1, N, D)` ↔ `(N, D)`, heads apart ↔ side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Reshaped"]


@dataclass(frozen=True, slots=True)
class Reshaped:
    """The elements in the same order, as `torch.reshape`.

    Attributes:
        source: The shape in the checkpoint.
        target: The shape of the result; as many elements.
    """

    name: ClassVar[str] = "reshape"
    needs_base: ClassVar[bool] = False

    source: Shape
    target: Shape

    def __post_init__(self) -> None:
        if math.prod(self.source) != math.prod(self.target):
            raise AdaptError(f"{self.describe()}: not as many elements")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Reshaped | None:
        """The op for shapes that differ in ones only, wherever they are."""
        target = change.target
        if shape == target or not target or [n for n in shape if n != 1] != [n for n in target if n != 1]:
            return None
        return cls(shape, target)

    def describe(self) -> str:
        """Such as `"[1, 197, 768] → [197, 768]"`."""
        return f"{list(self.source)} → {list(self.target)}"

    def shape(self, source: Shape) -> Shape:
        """`target`."""
        if source != self.source:
            raise AdaptError(f"{self.describe()}: a tensor of shape {list(source)}")
        return self.target

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """A view of the tensor where its memory allows one.

        Raises:
            AdaptError: It has another shape.
        """
        self.shape(tuple(tensor.shape))
        return tensor.reshape(self.target)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """Likewise.

        Raises:
            AdaptError: It has another shape.
        """
        return self.inverse.apply(tensor, base)

    @property
    def inverse(self) -> Reshaped:
        """The op that undoes this one."""
        return Reshaped(self.target, self.source)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {"op": self.name, "source": list(self.source), "target": list(self.target)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reshaped:
        """The inverse of `to_json`."""
        return cls(tuple(map(int, data["source"])), tuple(map(int, data["target"])))
