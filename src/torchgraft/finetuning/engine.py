"""The one module that knows Hugging Face accelerate: device, processes, precision, gradient steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch

from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.utils.data import DataLoader

__all__ = ["Engine"]

_PREPARED = "_is_accelerate_prepared"
"""With this on it, another `Accelerator` would take a model to be wrapped already."""


class Engine:
    """Runs a plain loop on whatever `accelerate launch` or `accelerate config` chose; alone: one device."""

    def __init__(self) -> None:
        require("accelerate")
        from accelerate import Accelerator

        self._accelerator = Accelerator()

    @property
    def device(self) -> torch.device:
        """Where models and batches go."""
        return cast("torch.device", self._accelerator.device)

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and reports progress."""
        return bool(self._accelerator.is_main_process)

    def model(self, model: nn.Module) -> nn.Module:
        """The model on its device, wrapped for several processes if there are several."""
        return cast("nn.Module", self._accelerator.prepare_model(model))

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer, aware of gradient scaling where the precision needs it."""
        return cast("Optimizer", self._accelerator.prepare_optimizer(optimizer))

    def loader(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        """The loader, giving this process its share of the batches, on the device."""
        return cast("DataLoader[Any]", self._accelerator.prepare_data_loader(loader))

    def step(
        self, loss: torch.Tensor, optimizer: Optimizer, parameters: list[nn.Parameter], clip: float | None
    ) -> None:
        """Gradients of `loss`, clipped to a norm of `clip`, then one step."""
        self._accelerator.backward(loss)
        if clip is not None:
            self._accelerator.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, without those that only filled up the last batch."""
        return cast("torch.Tensor", self._accelerator.gather_for_metrics(tensor))

    def mean(self, value: torch.Tensor) -> float:
        """The mean over the processes."""
        return float(self._accelerator.reduce(value.detach(), reduction="mean"))

    def wait(self) -> None:
        """Until every process has come here."""
        self._accelerator.wait_for_everyone()

    @contextmanager
    def released(self, model: nn.Module) -> Iterator[None]:
        """Afterwards nothing of this engine is left on the model, so that the next one starts anew."""
        try:
            yield
        finally:
            self._accelerator.unwrap_model(model, keep_fp32_wrapper=False)
            if hasattr(model, _PREPARED):
                delattr(model, _PREPARED)
            self._accelerator.free_memory()
