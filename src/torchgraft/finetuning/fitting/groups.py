"""Parameters that learn at one rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Group"]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One of the optimizer's parameter groups.

    Attributes:
        name: As in the table of learning rates, such as `head` or `blocks.3`.
        parameters: Each in one group only.
        lr: The highest rate it learns at; the schedule is a share of it.
        weight_decay: Its own.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    lr: float
    weight_decay: float

    def for_optimizer(self) -> dict[str, Any]:
        """As PyTorch's optimizers take it; the name stays with it."""
        return {
            "params": list(self.parameters),
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "name": self.name,
        }
