"""What may be done to a tensor on its way into a model: small steps that can be shown, stored and undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch

__all__ = ["Op", "Role", "Shape"]

Role: TypeAlias = Literal["stem", "head", "vocabulary", "position", "relative-position", "body"]
"""What a tensor's module is to the model: first to see the input, giver of the classes, a table over tokens
(which may be both), a table of positions or of relative ones, or none of these."""

Shape: TypeAlias = tuple[int, ...]


class Op(Protocol):
    """One step. Implementations are frozen dataclasses of plain fields, each in a file of its own."""

    @property
    def name(self) -> str:
        """The op's registered name, such as `"input-channels"`."""
        ...

    @property
    def needs_base(self) -> bool:
        """Whether `apply` keeps a part of the model's own tensor, so that it must be given one."""
        ...

    def describe(self) -> str:
        """A few words for the plan, such as `"input channels 3→4, repeat"`."""
        ...

    def shape(self, source: Shape) -> Shape:
        """The shape `apply` makes of a tensor of shape `source`."""
        ...

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The tensor as the model wants it.

        Args:
            tensor: Left as it was. It may be a view of a mapped file; only what is needed is read.
            base: The tensor the model has now, of the resulting shape; where `needs_base`, the part
                the source has nothing for is taken from it.

        Raises:
            AdaptError: `tensor` or `base` does not fit the op.
        """
        ...

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The way back.

        Args:
            tensor: What `apply` gave, or what training made of it.
            base: The tensor the source had, if there is one: gives what `apply` left out.

        Raises:
            AdaptError: Information was lost; the message says which.
        """
        ...

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and `"op": name`."""
        ...
