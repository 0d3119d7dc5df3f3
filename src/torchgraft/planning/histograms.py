"""How the values of tensors lie before a graft and after it, without applying the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchgraft.errors import TorchgraftError

if TYPE_CHECKING:
    import torch

    from torchgraft.measuring import Histogram
    from torchgraft.planning.plans import Plan

__all__ = ["histograms"]

_MOST_BYTES = 1 << 30
"""What is read of a checkpoint at most: adapted tensors first, then as many of the others as it allows."""


def histograms(plan: Plan, *, most: int = _MOST_BYTES) -> dict[str, tuple[Histogram, Histogram]]:
    """For tensors of the model that are filled from one of the checkpoint: that one's values, and their own.

    Both have the same ends. Nothing is written; a tensor that can't be made is left out, since applying the
    plan will say why.

    Args:
        plan: A plan that is bound to its model and its weights.
        most: Bytes of the checkpoint that are read, roughly.
    """
    import torch

    from torchgraft.planning.quantised import as_planned
    from torchgraft.planning.targets import targets_of

    if plan.binding is None:
        return {}
    checkpoint = as_planned(plan.sources, plan.binding.checkpoint)
    targets = targets_of(plan.binding.model)
    found = {}
    filled = [entry for entry in plan.targets if entry.status != "fresh" and not entry.joined]
    with torch.no_grad():
        for entry in sorted(filled, key=lambda entry: entry.status != "adapted"):
            assert entry.source is not None
            ref = checkpoint[entry.source]
            most -= ref.nbytes
            if most < 0:
                break
            base = targets[entry.name].tensor
            if base.is_meta and any(op.needs_base for op in entry.ops):
                continue
            try:
                before = after = ref.view((...,)) if ref.is_sparse else ref.view()
                for op in entry.ops:
                    after = op.apply(after, base if op.needs_base else None)
            except TorchgraftError:
                continue
            if pair := _pair(before, after):
                found[entry.name] = pair
    return found


def _pair(before: torch.Tensor, after: torch.Tensor) -> tuple[Histogram, Histogram] | None:
    if before.is_meta or after.is_meta:
        return None
    from torchgraft.measuring.values import ends, histogram

    found = ends(before), ends(after)
    low, high = min(low for low, _ in found), max(high for _, high in found)
    if not low <= high:  # nothing is finite in either
        return None
    drawn = histogram(before, low, high)
    return drawn, drawn if after is before else histogram(after, low, high)
