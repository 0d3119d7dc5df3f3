"""A model as the training loop calls it: in the engine's precision, and as one with the other processes'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from torchgraft.finetuning.processes.batch_norm import learns_statistics, over_all_processes

if TYPE_CHECKING:
    from torchgraft.finetuning.engine import Engine

__all__ = ["Running"]


class Running:
    """Calls the model, and sees to it that gradients are averaged over the processes.

    In the first step they are averaged by hand. That shows whether every parameter is used, which DDP, which
    does it from then on and meanwhile, has to be told.

    Args:
        engine: Runs it.
        model: On its device, with the same values in all processes; its parameters may be in parts.
        of: Which model it is, and what of it is trained.
    """

    def __init__(self, engine: Engine, model: nn.Module, of: tuple[int, list[int]]) -> None:
        self.of = of
        self._engine = engine
        self._model = model
        self._ddp: DistributedDataParallel | None = None
        self._rows: int | None = None

    def __call__(self, inputs: torch.Tensor) -> Any:
        """The model's output for this process's images."""
        with ExitStack() as stack:
            stack.enter_context(self._engine.autocast())
            if self._engine.processes > 1 and learns_statistics(self._model):
                stack.enter_context(over_all_processes(self._rows))
            return (self._ddp or self._model)(inputs)

    @contextmanager
    def part(self, rows: int, *, last: bool) -> Iterator[None]:
        """Around the forward and backward pass of a part of a step, of which so many rows count."""
        self._rows = rows
        with self._ddp.no_sync() if self._ddp is not None and not last else nullcontext():
            yield
        self._rows = None

    def average(self) -> None:
        """Before a step: gradients are those of all processes afterwards."""
        engine = self._engine
        if engine.processes == 1 or engine.shard or self._ddp is not None:
            return
        trained = [p for p in self._model.parameters() if p.requires_grad]
        used = engine.sum(torch.tensor([float(p.grad is not None) for p in trained]))
        for parameter, users in zip(trained, used.tolist(), strict=True):
            if users:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)
                parameter.grad /= engine.processes
        if trained:
            index = engine.device.index if engine.device.type != "cpu" else None
            self._ddp = DistributedDataParallel(
                self._model,
                device_ids=[index] if index is not None else None,
                init_sync=False,
                find_unused_parameters=bool((used < engine.processes).any()),
                gradient_as_bucket_view=True,
            )
