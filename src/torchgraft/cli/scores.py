"""An evaluation of any task on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from torchgraft.finetuning import AnyEvaluation

__all__ = ["scores_view"]


def scores_view(found: AnyEvaluation) -> RenderableType:
    """Its numbers and, of one class an image, what is confused."""
    from torchgraft.finetuning import Evaluation
    from torchgraft.report.terminal import evaluation_view

    confusion = found.confusion if isinstance(found, Evaluation) else ()
    return evaluation_view(found.metrics(), labels=found.classes if confusion else (), confusion=confusion)
