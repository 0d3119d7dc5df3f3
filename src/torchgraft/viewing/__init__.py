"""Pages served to the browser of the user who asked for them, and to nobody else."""

from torchgraft.viewing.server import Viewer
from torchgraft.viewing.shown import FixedPage, Runs, Shown, shown

__all__ = ["FixedPage", "Runs", "Shown", "Viewer", "shown"]
