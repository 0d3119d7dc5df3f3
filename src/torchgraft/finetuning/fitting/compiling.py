"""`torch.compile` around a model's steps, and nothing of it left on the model afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["compiled"]


@contextmanager
def compiled(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Inside, calling the model runs compiled code if that is wanted; names and tensors stay as they are."""
    if not wanted:
        yield
        return
    before = model._compiled_call_impl  # noqa: SLF001 (nothing public undoes `Module.compile`)
    model.compile()
    try:
        yield
    finally:
        model._compiled_call_impl = before  # noqa: SLF001
