"""What learns how fast: a row for each group of parameters, to be read before training begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.finetuning.fitting.groups import Group

__all__ = ["GroupRow", "group_rows"]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Parameters that are treated alike.

    Attributes:
        phase: Which part of the training, where there are several; else empty.
        name: Such as `head`, `blocks.3` or `frozen`.
        tensors: How many.
        parameters: Numbers in them.
        lr: The highest rate they learn at; `None` where there is none (frozen, or fitted by L-BFGS).
        weight_decay: Likewise.
        frozen: Whether they stay as they are.
    """

    phase: str
    name: str
    tensors: int
    parameters: int
    lr: float | None
    weight_decay: float | None
    frozen: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)


def group_rows(model: nn.Module, groups: Iterable[Group], *, phase: str = "") -> tuple[GroupRow, ...]:
    """The groups in their order, then what is in none of them, as one frozen row."""
    groups = list(groups)
    rows = [
        GroupRow(
            phase,
            group.name,
            len(group.parameters),
            sum(p.numel() for p in group.parameters),
            group.lr,
            group.weight_decay,
        )
        for group in groups
    ]
    trained = {p for group in groups for p in group.parameters}
    rest = [p for p in model.parameters() if p not in trained]
    if rest:
        rows.append(
            GroupRow(phase, "frozen", len(rest), sum(p.numel() for p in rest), None, None, frozen=True)
        )
    return tuple(rows)
