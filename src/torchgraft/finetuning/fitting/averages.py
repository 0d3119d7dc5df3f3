"""The moving average of a model's weights (EMA), which is often better than any single step's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from torchgraft.anatomy.unsharded import is_sharded
from torchgraft.finetuning.processes.sharding import in_parts_like

__all__ = ["Averages"]


class Averages:
    """An exponential moving average of parameters and of buffers that are real numbers.

    The decay in step t is `min(decay, t / (t + 9))`, from 0.1 upwards, so that an average of few steps is
    not mostly the start. Whole numbers among the buffers, such as a table of positions, are left alone.

    Args:
        model: Whose tensors are followed. The average is kept beside it, and put in place for a while.
        decay: The highest.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.tensors: dict[str, torch.Tensor] = {name: t.detach().clone() for name, t in self._followed()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimizer step number `step`, from 1."""
        average = get_ema_multi_avg_fn(min(self._decay, step / (step + 9)))  # type: ignore[no-untyped-call]
        kinds: dict[tuple[Any, ...], list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for name, current in self._followed():
            mean = self.tensors[name]
            kinds.setdefault((mean.dtype, mean.device, is_sharded(mean)), []).append((mean, current.detach()))
        for pairs in kinds.values():
            average([mean for mean, _ in pairs], [current for _, current in pairs], 0)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model has the averages; afterwards its own weights again, bit for bit."""
        own = {name: tensor.detach().clone() for name, tensor in self._followed()}
        self._write(self.tensors)
        try:
            yield
        finally:
            self._write(own)

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from averages that were kept."""
        for name, mean in self.tensors.items():
            mean.copy_(in_parts_like(tensors[name], mean))

    @torch.no_grad()
    def _write(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self._followed():
            tensor.copy_(tensors[name])

    def _followed(self) -> list[tuple[str, torch.Tensor]]:
        tensors: list[tuple[str, torch.Tensor]] = [*self._model.named_parameters()]
        return tensors + [(n, b) for n, b in self._model.named_buffers() if b.is_floating_point()]
