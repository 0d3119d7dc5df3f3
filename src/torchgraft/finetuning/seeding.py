"""Random numbers of a run's own: the same seed gives the same run, the caller's are left as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["drawn", "seeded"]

_LARGEST = 2**32


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's, numpy's and Python's generators start from `seed` inside, and are put back afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), _others_kept():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % _LARGEST)
        yield


@contextmanager
def drawn(*key: int) -> Iterator[None]:
    """Inside, the CPU's random numbers depend on `key` alone; afterwards they go on as if none were drawn.

    What is read and varied inside is the same whoever reads it, in whatever order, in which process.
    """
    seed = hash(key) % 2**63  # of whole numbers, so the same in every process
    generator = torch.default_generator  # not `torch.manual_seed`, which would seed the GPU's as well
    before = generator.get_state()
    with _others_kept():
        try:
            generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % _LARGEST)
            yield
        finally:
            generator.set_state(before)


@contextmanager
def _others_kept() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
