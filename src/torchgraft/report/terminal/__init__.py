"""What people read on a terminal: renderables for a rich console, one function a thing to show."""

from torchgraft.report.terminal.checkpoint import checkpoint_view
from torchgraft.report.terminal.diff import diff_view
from torchgraft.report.terminal.evaluation import evaluation_view, mistakes_view, parts_view
from torchgraft.report.terminal.history import history_view
from torchgraft.report.terminal.plan import plan_view
from torchgraft.report.terminal.predictions import Guesses, numbers_view, predictions_view
from torchgraft.report.terminal.zoo import model_view, models_view

__all__ = [
    "Guesses",
    "checkpoint_view",
    "diff_view",
    "evaluation_view",
    "history_view",
    "mistakes_view",
    "model_view",
    "models_view",
    "numbers_view",
    "parts_view",
    "plan_view",
    "predictions_view",
]
