"""Each process's share of every batch, so that the batches are the same on any number of processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader

__all__ = ["SharedLoader", "share"]


def share(batch: Sequence[int], rank: int, processes: int) -> Sequence[int]:
    """What process `rank` does of a batch: neighbours, as many as the others do or one fewer or more."""
    return batch[rank * len(batch) // processes : (rank + 1) * len(batch) // processes]


class SharedLoader:
    """Gives this process's share of each of a loader's batches, on the device.

    Where a batch has fewer images than there are processes, some have nothing to do. They get one image all
    the same, since every process has to take part in each step, but no index: a batch's indices say how many
    of its rows count.

    Args:
        loader: Gives (inputs, targets, indices) and was made with a batch size.
        rank: Of this process.
        processes: How many there are.
        device: Where batches go.
    """

    def __init__(self, loader: DataLoader[Any], *, rank: int, processes: int, device: torch.device) -> None:
        self.processes = processes
        self._device = device
        self._shares = _Shares(loader.batch_sampler, rank, processes)
        self._loader = loader
        if processes > 1:
            self._loader = DataLoader(
                loader.dataset,
                batch_sampler=self._shares,
                num_workers=loader.num_workers,
                collate_fn=loader.collate_fn,
                pin_memory=loader.pin_memory,
                timeout=loader.timeout,
                worker_init_fn=loader.worker_init_fn,
                multiprocessing_context=loader.multiprocessing_context,
                generator=loader.generator,
                prefetch_factor=loader.prefetch_factor,
                persistent_workers=loader.persistent_workers,
            )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Any, torch.Tensor]]:
        self._shares.counts.clear()
        for inputs, targets, indices in self._loader:
            counted = self._shares.counts.popleft() if self._shares.counts else len(indices)
            yield self._placed(inputs), self._placed(targets), indices[:counted]

    def _placed(self, value: Any) -> Any:
        return value.to(self._device, non_blocking=True) if isinstance(value, torch.Tensor) else value


class _Shares:
    """A batch sampler of shares; `counts` says, for each that was given and not yet used, how many count."""

    def __init__(self, batches: Any, rank: int, processes: int) -> None:
        self._batches: BatchSampler | Iterable[list[int]] = batches
        self._rank = rank
        self._processes = processes
        self.counts: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]  # a batch sampler's

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            mine = list(share(batch, self._rank, self._processes))
            self.counts.append(len(mine))
            yield mine or list(batch[:1])
