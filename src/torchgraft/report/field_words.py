"""What PyTorch calls what happens to a tensor: MISSING, UNEXPECTED, MISMATCH, as its own loading says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgraft.planning import Plan

__all__ = ["field_words"]


def field_words(plan: Plan) -> tuple[list[str], list[str]]:
    """One word a tensor of the model and one a tensor of the checkpoint; empty where it would say nothing.

    A tensor without a partner is `MISSING` from the checkpoint, or `UNEXPECTED` in it. Partners of different
    shapes are a `MISMATCH`, also where the plan makes one fit the other.
    """
    partners = {source for entry in plan.targets if entry.source for source in (entry.source, *entry.sources)}
    targets = []
    for entry in plan.targets:
        apart = entry.source_shape is not None and entry.source_shape != entry.shape and not entry.joined
        targets.append("MISMATCH" if apart else "MISSING" if entry.source is None else "")
    sources = [
        "" if entry.status == "used" else "MISMATCH" if entry.name in partners else "UNEXPECTED"
        for entry in plan.sources
    ]
    return targets, sources
