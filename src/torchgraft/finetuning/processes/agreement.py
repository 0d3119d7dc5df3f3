"""What processes have to settle together: sums, rows, who has failed, what the first one has found.

Each function here is a collective: all processes call it at the same point. With one it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import distributed

from torchgraft.errors import TorchgraftError, TrainingError

__all__ = [
    "StoppedElsewhereError",
    "first",
    "gathered",
    "main_first",
    "several",
    "spread",
    "summed",
    "together",
]

T = TypeVar("T")

_SETTLED = "_settled_by_all"
"""On an error that every process knows of already."""


class StoppedElsewhereError(TrainingError):
    """Another process failed, so this one ends too; the message and hint are that one's."""


def several() -> bool:
    """Whether there is more than one process."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def summed(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The sum over all processes, on the CPU or wherever the tensor was."""
    if not several():
        return tensor.detach()
    total = tensor.detach().to(device, copy=True)
    distributed.all_reduce(total)
    return total.to(tensor.device)


def gathered(rows: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The rows of all processes, each as often as it was given, in the order of the processes."""
    if not several():
        return rows
    count = torch.tensor([len(rows)], device=device)
    counts = [torch.zeros_like(count) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, count)
    most = max(int(each) for each in counts)
    mine = torch.zeros((most, *rows.shape[1:]), dtype=rows.dtype, device=device)
    mine[: len(rows)] = rows
    everyone = [torch.empty_like(mine) for _ in counts]
    distributed.all_gather(everyone, mine)
    parts = [each[: int(size)] for each, size in zip(everyone, counts, strict=True)]
    return torch.cat(parts).to(rows.device)


def spread(tensor: torch.Tensor, device: torch.device) -> None:
    """Give all processes the values that the first one has in this tensor."""
    if several():
        values = tensor.detach().to(device).contiguous()
        distributed.broadcast(values, src=0)
        tensor.detach().copy_(values)


def first(find: Callable[[], T]) -> T:
    """What `find` gives in the first process, for all of them; the others don't run it, but wait.

    Raises:
        StoppedElsewhereError: It failed there. There, its own error is raised.
    """
    if not several():
        return find()
    found: list[T | None] = [None]
    error: Exception | None = None
    if distributed.get_rank() == 0:
        try:
            found = [find()]
        except Exception as caught:
            error = caught
    _settle(error)
    distributed.broadcast_object_list(found, src=0)
    return cast("T", found[0])


@contextmanager
def together() -> Iterator[None]:
    """A part that all processes do: where one fails in it, all end with that one's message.

    Inside, only `first` and other contexts of this kind may be collective.
    """
    try:
        yield
    except Exception as error:
        if several() and not getattr(error, _SETTLED, False):
            _settle(error)
        raise
    if several():
        _settle(None)


@contextmanager
def main_first() -> Iterator[None]:
    """A part that the first process does before the others: what it downloads, they find.

    Inside, nothing may be collective.
    """
    if several() and distributed.get_rank() != 0:
        _settle(None)
    with together():
        if not several() or distributed.get_rank() != 0:
            yield
            return
        try:
            yield
        except Exception as error:
            _settle(error)
            raise
        _settle(None)


def _settle(error: Exception | None) -> None:
    """Let everyone know whether it went well here. If it didn't somewhere, all end.

    A process that has an error raises it, the others a `StoppedElsewhereError` with the first one's words.
    """
    said: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(said, None if error is None else _told(error))
    if error is not None:
        setattr(error, _SETTLED, True)
        raise error
    for rank, failure in enumerate(said):
        if failure is None:
            continue
        what, where, hint = failure
        stopped = StoppedElsewhereError(
            what if rank == 0 else f"process {rank}: {what}", where=where, hint=hint
        )
        setattr(stopped, _SETTLED, True)
        raise stopped


def _told(error: Exception) -> tuple[str, str | None, str | None]:
    if isinstance(error, TorchgraftError):
        return error.what, error.where, error.hint
    return f"{type(error).__name__}: {error}", None, None
