"""The op between libraries that order a weight's dimensions differently, such as `HWIO` and `OIHW`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Permuted"]


@dataclass(frozen=True, slots=True)
class Permuted:
    """Dimensions in another order, as `torch.permute`; nothing is computed.

    Attributes:
        axes: For each dimension of the result the source's.
    """

    name: ClassVar[str] = "permute"
    needs_base: ClassVar[bool] = False

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.axes) != list(range(len(self.axes))):
            raise AdaptError(f"{list(self.axes)} is no order of {len(self.axes)} dimensions")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> None:  # noqa: ARG003  # the protocol's; shapes can't tell
        """None: shapes alone never show that dimensions are in another order."""
        return

    def describe(self) -> str:
        """Such as `"transposed"`, `"dimensions 3, 2, 0, 1"`."""
        if self.axes == (1, 0):
            return "transposed"
        return f"dimensions {', '.join(map(str, self.axes))}"

    def shape(self, source: Shape) -> Shape:
        """The sizes in the new order."""
        if len(source) != len(self.axes):
            raise AdaptError(f"{self.describe()}: shape {list(source)} has not {len(self.axes)} dimensions")
        return tuple(source[axis] for axis in self.axes)

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """A view of the tensor.

        Raises:
            AdaptError: It has another number of dimensions.
        """
        self.shape(tuple(tensor.shape))
        return tensor.permute(self.axes)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """A view of the tensor.

        Raises:
            AdaptError: It has another number of dimensions.
        """
        return self.inverse.apply(tensor, base)

    @property
    def inverse(self) -> Permuted:
        """The order that undoes this one."""
        return Permuted(tuple(self.axes.index(axis) for axis in range(len(self.axes))))

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {"op": self.name, "axes": list(self.axes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Permuted:
        """The inverse of `to_json`."""
        return cls(tuple(map(int, data["axes"])))
