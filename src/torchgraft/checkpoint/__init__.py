"""A file's data as a checkpoint: which part of it is the weights, and what else it holds."""

from torchgraft.checkpoint.at_hand import at_hand
from torchgraft.checkpoint.checkpoint import Checkpoint
from torchgraft.checkpoint.frugal import frugal
from torchgraft.checkpoint.opening import open  # noqa: A004 (tg.open is the public name)
from torchgraft.checkpoint.parts import Part

__all__ = ["Checkpoint", "Part", "at_hand", "frugal", "open"]
