"""The main job from end to end, on real weights and real photos that come inside packages."""

from torchgraft.demo.audience import Audience
from torchgraft.demo.story import Demo, run

__all__ = ["Audience", "Demo", "run"]
