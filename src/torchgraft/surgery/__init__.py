"""Another size for the parts of a model that anatomy finds, its weights kept."""

from torchgraft.surgery.changing import adapt
from torchgraft.surgery.growing import grow

__all__ = ["adapt", "grow"]
