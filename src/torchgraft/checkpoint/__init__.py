"""A file's data as a checkpoint: which part of it is the weights, and what else it holds."""

from torchgraft.checkpoint.at_hand import at_hand
from torchgraft.checkpoint.checkpoint import Checkpoint
from torchgraft.checkpoint.counting import OnBytes, counted
from torchgraft.checkpoint.dequantising import dequantised
from torchgraft.checkpoint.frugal import frugal
from torchgraft.checkpoint.opening import open  # noqa: A004 (tg.open is the public name)
from torchgraft.checkpoint.optimizers import find_optimizers
from torchgraft.checkpoint.packed_weights import refuse_packed
from torchgraft.checkpoint.parts import Part
from torchgraft.checkpoint.scale_names import find_scalings
from torchgraft.checkpoint.scaling import Scaling

__all__ = [
    "Checkpoint",
    "OnBytes",
    "Part",
    "Scaling",
    "at_hand",
    "counted",
    "dequantised",
    "find_optimizers",
    "find_scalings",
    "frugal",
    "open",
    "refuse_packed",
]
