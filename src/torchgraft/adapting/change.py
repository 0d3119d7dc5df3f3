"""What is asked of an op: the shapes, and what is known about the tensor."""

from __future__ import annotations

from dataclasses import dataclass

from torchgraft.adapting.in_mode import InMode
from torchgraft.adapting.ops import Role, Shape
from torchgraft.adapting.row_map import RowMap

__all__ = ["Change"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of shape that is wanted.

    Attributes:
        source: The checkpoint's shape.
        target: The model's.
        role: What the tensor's module is to the model.
        in_mode: How new input channels get their weights.
        rows: Which source row each class has, if that is known.
        groups: Groups of the module, if it is a convolution.
    """

    source: Shape
    target: Shape
    role: Role
    in_mode: InMode = "repeat"
    rows: RowMap | None = None
    groups: int = 1
