"""What is asked of an op: the shapes, and what is known about the tensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torchgraft.adapting.ops import Role, Shape
from torchgraft.adapting.row_map import RowMap

__all__ = ["ANY_OP", "Change"]

ANY_OP = "*"
"""In `Change.modes`: whichever op takes a mode."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of shape that is wanted.

    Attributes:
        source: The checkpoint's shape.
        target: The model's.
        role: What the tensor's module is to the model.
        modes: How ops that have several ways do it: a mode by the op's name, or by `ANY_OP`.
        rows: Which source row each class, or each token, has, if that is known.
        groups: Groups of the module, if it is a convolution.
        place: What else is known of the tensor's place in the model, for the ops of its role.
    """

    source: Shape
    target: Shape
    role: Role
    modes: Mapping[str, object] = field(default_factory=dict)
    rows: RowMap | None = None
    groups: int = 1
    place: object = None

    def mode(self, op: str, default: object, among: Collection[str] | None = None) -> object:
        """The mode wanted for the op of this name; the most particular word counts.

        Args:
            op: Its name.
            default: If none is wanted.
            among: What the modes are called, where another op of the tensor may have modes too: one that is
                wanted for whichever op takes it is not this op's if it is none of these.
        """
        mine = self.modes.get(op, default)
        meant = self.modes.get(ANY_OP, mine)
        return mine if among is not None and meant not in among else meant
