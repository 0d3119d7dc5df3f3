"""Two checkpoints side by side: names, shapes, dtypes, and values where they are asked for."""

from torchgraft.comparing.checkpoints import diff
from torchgraft.comparing.result import Diff, TensorDiff, ValueDiff

__all__ = ["Diff", "TensorDiff", "ValueDiff", "diff"]
