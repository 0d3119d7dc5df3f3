"""From a model and a checkpoint to a plan, and from a plan to a model that holds the weights."""

from torchgraft.planning.applying import GraftReport
from torchgraft.planning.building import graft, plan
from torchgraft.planning.plans import Plan, SourceEntry, TargetEntry

__all__ = ["GraftReport", "Plan", "SourceEntry", "TargetEntry", "graft", "plan"]
