"""What a run says and writes down while it goes on: events, and the run folder's files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torchgraft.errors import SaveError
from torchgraft.finetuning.events import Event, OnEvent
from torchgraft.finetuning.metrics import Evaluation, measure
from torchgraft.finetuning.result import Epoch
from torchgraft.finetuning.run_folder import RunFolder

if TYPE_CHECKING:
    import torch
    from torch import nn

    from torchgraft.finetuning.learning_data import LearningData

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
    """

    model: nn.Module
    folder: RunFolder | None
    emit: OnEvent
    data: LearningData
    classes: tuple[str, ...]

    def epoch(self, epoch: Epoch, total: int) -> None:
        """Write the history and tell of the epoch; `total` is how many there are at most."""
        if self.folder is not None:
            self.folder.add_epoch(epoch)
        val = {
            "loss": epoch.val_loss,
            "accuracy": epoch.val_accuracy,
            "balanced_accuracy": epoch.val_balanced_accuracy,
        }
        self.emit(Event("epoch", epoch.epoch, total, epoch.epoch, epoch.train_loss, val))

    def best(self, epoch: int, probabilities: torch.Tensor) -> None:
        """Save the model, whose `probabilities` (images, classes) on the validation images are these."""
        if self.folder is not None:
            self.emit(Event("saving", 0, 1, epoch))
            self.folder.keep(self.model, epoch, self.evaluation(probabilities))
            self.emit(Event("saving", 1, 1, epoch))

    def evaluation(self, probabilities: torch.Tensor) -> Evaluation:
        """Compare with the truth."""
        import numpy as np

        labels = np.asarray(self.data.val.labels)
        return measure(probabilities.numpy(), labels, self.classes, skipped=self.data.skipped)


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
