"""What is odd about a tensor's values, in a word: NaN, dead, constant, stored twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.report.quantities import plural
from torchgraft.report.ranges import collapse, ranged, skeleton
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.checkpoint import Checkpoint
    from torchgraft.measuring import TensorStats

__all__ = ["VALUE_STATES", "Finding", "ValueState", "findings", "value_state"]

_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class ValueState:
    """One state: its look on a page, a word, a symbol, what it means."""

    key: str
    word: str
    symbol: str
    meaning: str


VALUE_STATES = (
    ValueState("loaded", "plain", "✓", "finite values that differ"),
    ValueState("undeclared", "NaN or infinite", "✗", "not every value is a number"),
    ValueState("adapted", "constant", "=", "floating-point numbers that are one value throughout"),
    ValueState("fresh", "dead", "○", "floating-point numbers that are zero throughout"),
    ValueState("unused", "duplicate", "‖", "the same bits as an earlier tensor, stored again"),
    ValueState("t4", "tied", "∞", "the same stored bytes as an earlier tensor"),
)
"""The first is how it should be; the others are worth a look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Tensors of one state: how many, their names as ranges (not all, where there are many)."""

    state: ValueState
    count: str
    names: tuple[str, ...]


def value_state(stats: TensorStats, dtype: str) -> int:
    """Which of `VALUE_STATES` a tensor is in, the worst first. Counters may be zero without being dead."""
    if stats.nan or stats.inf:
        return 1
    if (stats.dead or stats.constant) and dtype.startswith(("float", "bfloat", "complex")):
        return 3 if stats.dead else 2
    return 0 if stats.twin is None else 5 if stats.tied else 4


def findings(ckpt: Checkpoint, stats: Mapping[str, TensorStats]) -> list[Finding]:
    """All that is worth a look; none where every tensor is as it should be."""
    at = {name: value_state(each, ckpt[name].dtype) for name, each in stats.items()}
    found = []
    for number, state in enumerate(VALUE_STATES[1:], 1):
        names = [clean(name) for name, each in at.items() if each == number]
        if names:
            ranges = collapse(names, skeleton)
            shown = [ranged(each) for each in ranges[:_MOST_NAMES]] + ["…"] * (len(ranges) > _MOST_NAMES)
            found.append(Finding(state, plural(len(names), "tensor"), tuple(shown)))
    return found
