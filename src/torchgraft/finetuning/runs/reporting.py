"""What a run says and writes down while it goes on: events, and the run folder's files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torchgraft.errors import SaveError
from torchgraft.finetuning.evaluations.evaluation import AnyEvaluation
from torchgraft.finetuning.events import Event, OnEvent, Step
from torchgraft.finetuning.result import Epoch
from torchgraft.finetuning.runs.run_folder import RunFolder
from torchgraft.finetuning.runs.tracking import Log, epoch_values, step_values, unheard
from torchgraft.finetuning.tasks.head_units import in_user_units

if TYPE_CHECKING:
    import torch
    from torch import nn

    from torchgraft.finetuning.learning_data import LearningData
    from torchgraft.finetuning.tasks.task import Task

__all__ = ["Reporting", "recorded", "timed"]


@dataclass(frozen=True, slots=True)
class Reporting:
    """What is done with each epoch and with each best model.

    Attributes:
        model: The one in training.
        folder: Where it is saved, if anywhere.
        emit: Takes events.
        data: Gives the truth about the validation images.
        classes: Names of the model's outputs.
        task: Measures.
        heads: Module paths of the model's classifiers.
        whole: Gives the model as it is to be saved; `None` in processes that don't save.
        log: Takes losses and measures for trackers; at most one step a second goes to `log_step`.
    """

    model: nn.Module
    folder: RunFolder | None
    emit: OnEvent
    data: LearningData
    classes: tuple[str, ...]
    task: Task
    heads: tuple[str, ...]
    whole: Callable[[nn.Module], nn.Module | None] = lambda model: model
    log: Log = unheard
    log_step: Log = unheard
    _steps: list[int] = field(default_factory=lambda: [0])

    def epoch(self, epoch: Epoch, total: int) -> None:
        """Write the history and tell of the epoch; `total` is how many there are at most."""
        if self.folder is not None:
            self.folder.add_epoch(epoch, total)
        self.log(epoch_values(epoch), self._steps[0] or epoch.epoch)
        self.emit(Event("epoch", epoch.epoch, total, epoch.epoch, epoch.train_loss, dict(epoch.val)))

    def step(self, step: Step) -> None:
        """Write it down."""
        if self.folder is not None:
            self.folder.add_step(step)
        self._steps[0] = step.step
        self.log_step(step_values(step), step.step)

    def best(self, epoch: int, outcomes: torch.Tensor) -> None:
        """Save the model, whose `outcomes` (a row an image) on the validation images are these."""
        whole = self.whole(self.model)
        if self.folder is not None and whole is not None:
            self.emit(Event("saving", 0, 1, epoch))
            with in_user_units(self.task, whole, self.heads):
                self.folder.keep(whole, epoch, self.evaluation(outcomes))
            self.emit(Event("saving", 1, 1, epoch))

    def evaluation(self, outcomes: torch.Tensor) -> AnyEvaluation:
        """Compare with the truth."""
        return self.task.measure(outcomes, self.data.val, self.classes, skipped=self.data.skipped)


@contextmanager
def recorded(folder: RunFolder | None) -> Iterator[None]:
    """However the run ends, its folder says so."""
    try:
        yield
    except BaseException as error:
        if folder is not None and folder.started:
            stopped = isinstance(error, KeyboardInterrupt)
            with suppress(SaveError):  # the run's own error is the one to show
                folder.end("interrupted" if stopped else "failed", error=f"{type(error).__name__}: {error}")
        raise


def timed(on_event: OnEvent | None, began: float) -> OnEvent:
    """`on_event`, if there is one, told the seconds since `began` as well."""

    def emit(event: Event) -> None:
        if on_event is not None:
            on_event(replace(event, seconds=time.monotonic() - began))

    return emit
