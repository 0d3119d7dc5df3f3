"""What the values of tensors are like: NaN, ranges, moments, histograms, which are the same."""

from torchgraft.measuring.checkpoints import measure
from torchgraft.measuring.result import BINS, Histogram, TensorStats

__all__ = ["BINS", "Histogram", "TensorStats", "measure"]
