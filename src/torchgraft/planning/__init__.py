"""From a model and a checkpoint to a plan, and from a plan to a model that holds the weights."""

from torchgraft.planning.applying import GraftReport
from torchgraft.planning.building import graft, plan
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.planning.optimizer_state import OptimizerState
from torchgraft.planning.plans import Plan
from torchgraft.planning.restoring import Restored

__all__ = ["GraftReport", "OptimizerState", "Plan", "Restored", "SourceEntry", "TargetEntry", "graft", "plan"]
