"""What may be done to a tensor on its way into a model: small steps that can be shown, stored and undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch

__all__ = ["Op", "Role"]

Role: TypeAlias = Literal["stem", "head", "body"]
"""What a tensor's module is to the model: first to see the input, giver of the classes, or neither."""


class Op(Protocol):
    """One step. Implementations are frozen dataclasses of plain fields."""

    @property
    def name(self) -> str:
        """The op's registered name, such as `"input-channels"`."""
        ...

    def describe(self) -> str:
        """A few words for the plan, such as `"input channels 3→4, repeat"`."""
        ...

    def apply(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor as the model wants it; the argument is left as it was."""
        ...

    def invert(self, tensor: torch.Tensor) -> torch.Tensor:
        """The way back. Raises `AdaptError` where information was lost."""
        ...

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and `"op": name`."""
        ...
