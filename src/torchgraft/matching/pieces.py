"""What is paired: tensors, or parts of fused ones, in PyTorch's layout whichever library wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torchgraft.adapting import Block
from torchgraft.adapting.ops import Op, Shape
from torchgraft.matching.naming import is_flat, taken_apart
from torchgraft.tensors import Named

__all__ = ["Piece", "pieces_of"]


@dataclass(frozen=True, slots=True)
class Piece(Named):
    """A tensor as it would lie in PyTorch, or one of the parts of a fused one.

    Attributes:
        name: As it would be called if it stood alone.
        shape: As it would be in PyTorch.
        path: The path of its layer.
        leaf: What it is to that layer, in PyTorch's words; empty for a tensor of no layer.
        origin: The name of the tensor that it is, or is in.
        whole: That tensor's shape, as it lies.
        ops: What brings that tensor into PyTorch's layout.
        rows: Which rows of the result it is; `None` for all.
        place: Which part it is.
        of: How many parts there are.
        word: What the part is called, such as `"q"`; empty for a whole tensor.
        doubtful: Whether the parts may lie otherwise than in blocks of rows.
    """

    path: tuple[str, ...] = ()
    leaf: str = ""
    origin: str = ""
    whole: Shape = ()
    ops: tuple[Op, ...] = ()
    rows: Block | None = None
    place: int = 0
    of: int = 1
    word: str = ""
    doubtful: bool = False

    @property
    def steps(self) -> tuple[Op, ...]:
        """All that makes it out of its origin."""
        return self.ops if self.rows is None else (*self.ops, self.rows)


def pieces_of(tensors: Sequence[Named], names: Sequence[str] | None = None) -> list[Piece]:
    """Each tensor as one piece, as it lies.

    Args:
        tensors: One side's.
        names: What they are called instead.
    """
    names = [tensor.name for tensor in tensors] if names is None else names
    flat = is_flat(names)
    found = []
    for tensor, name in zip(tensors, names, strict=True):
        path, leaf = taken_apart(name, flat=flat)
        piece = Piece(name, tensor.shape, tensor.dtype, layout=tensor.layout, path=path, leaf=leaf)
        found.append(replace(piece, origin=tensor.name, whole=tensor.shape))
    return found
