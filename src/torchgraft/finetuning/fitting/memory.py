"""Out of memory: said in terms of what the user can change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchgraft.errors import TrainingError

__all__ = ["memory_told"]

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def memory_told(batch_size: int, accumulate: int) -> Iterator[None]:
    """Inside, a lack of memory becomes a `TrainingError` that names the batch size and a smaller one."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not _is_lack(str(error)):
            raise
        raise TrainingError(
            f"out of memory at batch_size={batch_size}", hint=_smaller(batch_size, accumulate)
        ) from error


def _smaller(batch_size: int, accumulate: int) -> str:
    if batch_size == 1:
        return "a single image is too much: use a smaller model or smaller images"
    half = batch_size // 2
    steps = -(-batch_size * accumulate // half)
    return f"batch_size={half}, accumulate={steps} makes steps of the same size in half the memory"


def _is_lack(message: str) -> bool:
    return any(sign in message.lower() for sign in _SIGNS)
