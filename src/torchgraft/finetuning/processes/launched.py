"""What a launcher such as `torchrun` tells each process that it starts. PyTorch is not imported for that."""

from __future__ import annotations

import os

__all__ = ["process_count", "process_number"]


def process_count() -> int:
    """How many processes were started together."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def process_number() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK") or 0) if process_count() > 1 else 0
