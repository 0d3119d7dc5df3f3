"""What is paired: tensors, or parts of fused ones, in PyTorch's layout whichever library wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from torchgraft.adapting import Block
from torchgraft.adapting.ops import Op, Shape
from torchgraft.tensors import Named

__all__ = ["Piece", "piece"]


@dataclass(frozen=True, slots=True)
class Piece(Named):
    """A tensor as it would lie in PyTorch, or one of the parts of a fused one.

    Attributes:
        name: As it would be called if it stood alone.
        shape: As it would be in PyTorch.
        origin: The name of the tensor that it is, or is in.
        whole: That tensor's shape, as it lies.
        ops: What brings that tensor into PyTorch's layout.
        rows: Which rows of the result it is; `None` for all.
        place: Which part it is.
        of: How many parts there are.
        word: What the part is called, such as `"q"`; empty for a whole tensor.
    """

    origin: str = ""
    whole: Shape = ()
    ops: tuple[Op, ...] = ()
    rows: Block | None = None
    place: int = 0
    of: int = 1
    word: str = ""

    @property
    def steps(self) -> tuple[Op, ...]:
        """All that makes it out of its origin."""
        return self.ops if self.rows is None else (*self.ops, self.rows)


def piece(tensor: Named) -> Piece:
    """The tensor as one piece, as it lies."""
    return Piece(
        tensor.name, tensor.shape, tensor.dtype, layout=tensor.layout, origin=tensor.name, whole=tensor.shape
    )
