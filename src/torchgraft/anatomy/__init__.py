"""Where a model's stems, heads and tables are, found by running it."""

from torchgraft.anatomy.detection import row_blocks
from torchgraft.anatomy.examining import examine
from torchgraft.anatomy.sites import Anatomy, Site

__all__ = ["Anatomy", "Site", "examine", "row_blocks"]
