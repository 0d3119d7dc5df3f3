"""The op between a `Linear` and a convolution whose kernel is one pixel: same numbers, other brackets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Pointwise"]


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Another number of trailing ones after `(out, in)`: `Linear` ↔ 1×1 convolution, nothing computed.

    Attributes:
        source: Kernel dimensions the source has (0 for `Linear`).
        target: Those the model has.
    """

    name: ClassVar[str] = "pointwise"
    needs_base: ClassVar[bool] = False

    source: int
    target: int

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Pointwise | None:
        """The op for two weights that differ in trailing ones; what else differs is left to other ops."""
        target = change.target
        if len(shape) == len(target) or min(len(shape), len(target)) < 2:
            return None
        if any(size != 1 for size in (*shape[2:], *target[2:])):
            return None
        return cls(len(shape) - 2, len(target) - 2)

    def describe(self) -> str:
        """Such as `"Linear → 1x1 convolution"`."""
        return f"{_layer(self.source)} → {_layer(self.target)}"

    def shape(self, source: Shape) -> Shape:
        """`(out, in, 1…)` with the other number of ones."""
        return source[:2] + (1,) * self.target

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """A view of the tensor.

        Raises:
            AdaptError: The kernel has more than one pixel, or another number of dimensions.
        """
        return self._reshaped(tensor, self.source, self.target)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """A view of the tensor.

        Raises:
            AdaptError: The kernel has more than one pixel, or another number of dimensions.
        """
        return self._reshaped(tensor, self.target, self.source)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {"op": self.name, "source": self.source, "target": self.target}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pointwise:
        """The inverse of `to_json`."""
        return cls(int(data["source"]), int(data["target"]))

    def _reshaped(self, tensor: torch.Tensor, have: int, want: int) -> torch.Tensor:
        if tensor.ndim != have + 2 or any(size != 1 for size in tensor.shape[2:]):
            raise AdaptError(
                f"{self.describe()}: a weight of shape {list(tensor.shape)} is not a {_layer(have)}'s"
            )
        return tensor.reshape(tuple(tensor.shape[:2]) + (1,) * want)


def _layer(kernel_dims: int) -> str:
    return f"{'x'.join('1' * kernel_dims)} convolution" if kernel_dims else "Linear"
