"""`open`: a file becomes a checkpoint."""

from __future__ import annotations

import os

from torchgraft.checkpoint.checkpoint import Checkpoint
from torchgraft.formats import read_container

__all__ = ["open"]


def open(path: str | os.PathLike[str], *, select: str | None = None) -> Checkpoint:  # noqa: A001 (tg.open is the public name)
    """Open a checkpoint: lazily, without PyTorch, and without running anything that is in it.

    Args:
        path: A `.pth`, `.pt`, `.ckpt`, `.bin` or `.safetensors` file; its content decides, not its name.
        select: The part that is the weights, by its path in the file or the end of it, such as
            `"state_dict_ema"`; `"."` takes every set of tensors together. By default it is found by
            content: the named floating-point tensors, neither an optimizer's state nor a copy.

    Raises:
        CheckpointError: It can't be read, is not to be trusted, or its weights can't be told.
    """
    return Checkpoint.from_container(read_container(path), select)
