"""Which epoch was the best, its weights, and when to stop looking for a better one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchgraft.finetuning.processes.states import load_model_state
from torchgraft.finetuning.result import Epoch

if TYPE_CHECKING:
    from torchgraft.finetuning.job import Job, Trained

__all__ = ["Best", "epoch_of"]

_WEIGHTS = "weights/"


class Best:
    """Keeps the weights of the epoch that ranks highest on the validation images.

    Args:
        module: Whose weights to keep; they are copied on to the CPU.
        rank: Of an epoch's numbers; see `Task.rank`.
        patience: `exhausted` after so many epochs without a better one; `None`: never.
        after: What an earlier phase did, whose best weights the module has: they are the best until an epoch
            of this phase is better. The history goes on from its, and patience begins anew.
    """

    def __init__(
        self,
        module: nn.Module,
        rank: Callable[[Mapping[str, float]], tuple[float, ...]],
        patience: int | None = None,
        *,
        after: Trained | None = None,
    ) -> None:
        self._module = module
        self._ranked = rank
        self._patience = patience
        self._weights = self._copy()
        self._improved = False
        self._rank: tuple[float, ...] | None = None
        self.history: list[Epoch] = []
        self.epoch = 0
        self.outcomes: torch.Tensor | None = None
        if after is not None:
            self.history = list(after.history)
            self.epoch, self.outcomes = after.best_epoch, after.outcomes
            self._rank = rank(after.history[after.best_epoch - 1].val)
        self._before = len(self.history)

    def add(self, epoch: Epoch, outcomes: torch.Tensor) -> bool:
        """Note an epoch that ended with the module as it is now; whether it is the best so far."""
        self.history.append(epoch)
        rank = self._ranked(epoch.val)
        if self._rank is not None and rank <= self._rank:
            return False
        self._rank, self.epoch = rank, epoch.epoch
        self._weights, self.outcomes = self._copy(), outcomes
        self._improved = True
        return True

    @property
    def exhausted(self) -> bool:
        """Whether patience is over."""
        since = len(self.history) - max(self.epoch, self._before)
        return self._patience is not None and since >= self._patience

    def restore(self) -> None:
        """Give the module the best weights; the first ones, if no epoch has ended."""
        load_model_state(self._module, self._weights)

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What `load` needs in another process: plain data and tensors.

        Weights are among them only if an epoch of this phase had better ones than the phase began with.
        """
        tensors = {f"{_WEIGHTS}{name}": tensor for name, tensor in self._weights.items() if self._improved}
        if self.outcomes is not None:
            tensors["outcomes"] = self.outcomes
        history = [asdict(epoch) for epoch in self.history]
        return {"rank": self._rank, "epoch": self.epoch, "history": history}, tensors

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave; the module has the weights only after `restore`."""
        self._rank = tuple(state["rank"]) if state["rank"] is not None else None
        self.epoch = state["epoch"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.outcomes = tensors.get("outcomes")
        found = {name.removeprefix(_WEIGHTS): t for name, t in tensors.items() if name.startswith(_WEIGHTS)}
        self._improved = bool(found)
        self._weights = found or self._weights

    def _copy(self) -> dict[str, torch.Tensor]:
        state = self._module.state_dict()
        return {key: value.detach().to("cpu", copy=True) for key, value in state.items()}


def epoch_of(
    job: Job,
    number: int,
    train_loss: float,
    outcomes: torch.Tensor,
    *,
    lr: Mapping[str, float] | None = None,
    seconds: float,
) -> Epoch:
    """An epoch's record from the task's outcomes on the validation images."""
    found = job.task.measure(outcomes, job.val, job.val.classes)
    others = {name: value for name, value in found.metrics().items() if name != found.loss_name}
    val = {"loss": found.loss, **others}
    return Epoch(number, train_loss, val, dict(lr or {}), seconds)
