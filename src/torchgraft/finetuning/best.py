"""Which epoch was the best, its weights, and when to stop looking for a better one."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from torchgraft.finetuning.metrics import measure
from torchgraft.finetuning.result import Epoch

__all__ = ["Best", "epoch_of"]


class Best:
    """Keeps the weights of the epoch with the highest validation accuracy; of equals, the lowest loss.

    Args:
        module: Whose weights to keep; they are copied on to the CPU.
        patience: `exhausted` after so many epochs without a better one; `None`: never.
    """

    def __init__(self, module: nn.Module, patience: int | None = None) -> None:
        self._module = module
        self._patience = patience
        self._weights = self._copy()
        self._rank = (-1.0, 0.0)
        self.history: list[Epoch] = []
        self.epoch = 0
        self.probabilities: torch.Tensor | None = None

    def add(self, epoch: Epoch, probabilities: torch.Tensor) -> bool:
        """Note an epoch that ended with the module as it is now; whether it is the best so far."""
        self.history.append(epoch)
        rank = (epoch.val_accuracy, -epoch.val_loss)
        if rank <= self._rank:
            return False
        self._rank, self.epoch = rank, epoch.epoch
        self._weights, self.probabilities = self._copy(), probabilities
        return True

    @property
    def exhausted(self) -> bool:
        """Whether patience is over."""
        return self._patience is not None and len(self.history) - self.epoch >= self._patience

    def restore(self) -> None:
        """Give the module the best weights; the first ones, if no epoch has ended."""
        self._module.load_state_dict(self._weights)

    def _copy(self) -> dict[str, torch.Tensor]:
        state = self._module.state_dict()
        return {key: value.detach().to("cpu", copy=True) for key, value in state.items()}


def epoch_of(
    number: int,
    train_loss: float,
    probabilities: torch.Tensor,
    labels: tuple[int, ...],
    *,
    lr: float | None,
    seconds: float,
) -> Epoch:
    """An epoch's record from the probabilities (images, classes) on the validation images."""
    classes = [str(index) for index in range(probabilities.shape[1])]
    result = measure(probabilities.numpy(), np.asarray(labels), classes)
    return Epoch(number, train_loss, result.log_loss, result.accuracy, result.balanced_accuracy, lr, seconds)
