"""Where a model's stem and head are, found by running it, and how to change their size."""

from torchgraft.anatomy.detection import row_blocks
from torchgraft.anatomy.examining import examine
from torchgraft.anatomy.growing import grow
from torchgraft.anatomy.sites import Anatomy, Site
from torchgraft.anatomy.surgery import adapt

__all__ = ["Anatomy", "Site", "adapt", "examine", "grow", "row_blocks"]
