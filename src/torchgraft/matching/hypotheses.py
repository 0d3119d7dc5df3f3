"""The ways in which two lists whose names differ may belong together, in the order in which they are tried.

To add one: write a function of the type `Hypothesis` in a file of its own and give it a line in `HYPOTHESES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torchgraft.matching.branches import match_branches
from torchgraft.matching.depth import match_depth
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Matching
from torchgraft.matching.structure import match_structure

__all__ = ["HYPOTHESES", "Hypothesis"]

Hypothesis: TypeAlias = Callable[[Sequence[Piece], Sequence[Piece], Guidance], "Matching | None"]
"""Gives a `Matching` if it explains the two lists (sources, targets), `None` if it does not, and raises
`AmbiguousMatchError` where it explains them in two ways."""

HYPOTHESES: tuple[Hypothesis, ...] = (
    match_structure,
    match_depth,
    match_branches,
)
