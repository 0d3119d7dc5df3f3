"""The page about a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torchgraft.report.field_words import field_words
from torchgraft.report.page.graft import GraftSection
from torchgraft.report.page.page import Figure, Page
from torchgraft.report.quantities import percent
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.measuring import Histogram
    from torchgraft.planning import Plan

__all__ = ["graft_page"]


def graft_page(
    plan: Plan, *, values: Mapping[str, tuple[Histogram, Histogram]] | None = None, script: str = ""
) -> Page:
    """What happens to every tensor of a model and of a checkpoint.

    Args:
        plan: What to show.
        values: How the values of tensors of the model lie in the checkpoint and in the model, by name.
        script: The plan as a Python module (`Plan.python`), for the reader to copy.
    """
    counts = plan.counts
    missing, unexpected = field_words(plan)
    words = {
        "MISSING": missing.count("MISSING"),
        "UNEXPECTED": unexpected.count("UNEXPECTED"),
        "MISMATCH": missing.count("MISMATCH"),
    }
    file = clean(plan.checkpoint.replace("\\", "/").rpartition("/")[2] or plan.checkpoint)
    figures = (
        Figure(percent(plan.coverage), "of the model's elements come from the checkpoint"),
        *(Figure(f"{counts[status]:,}", f"tensors {status}") for status in ("loaded", "adapted", "fresh")),
        Figure(f"{counts['unused']:,}", "tensors of the checkpoint unused"),
    )
    said = ", ".join(f"{n:,} {word}" for word, n in words.items())
    return Page(
        f"{file} into {clean(plan.model)}",
        f"{plan.summary[0].upper()}{plan.summary[1:]}. With names paired, in PyTorch's words: {said}.",
        (GraftSection(plan, title="Every tensor", values=values or {}, script=script),),
        figures,
    )
