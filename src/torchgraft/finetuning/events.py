"""What a run says while it goes on: enough to draw a progress bar and a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torchgraft.finetuning.group_table import GroupRow

__all__ = ["Event", "OnEvent", "Stage", "Step"]

Stage: TypeAlias = Literal["reading", "groups", "features", "training", "validating", "epoch", "saving"]


@dataclass(frozen=True, slots=True)
class Event:
    """One sign of progress.

    Attributes:
        stage: What is being done; `epoch` once after each epoch, with its results in `val`; `groups` once
            before anything is trained.
        step: How much of it is done, in images or, for `training`, in steps of the optimizer.
        total: How much there is to do; for `epoch`, the number of epochs.
        epoch: Which epoch it is, from 1; 0 outside of any.
        train_loss: Mean loss over this epoch's batches so far.
        val: `loss`, `accuracy` and `balanced_accuracy` on the validation images, after an epoch.
        seconds: Since the run began.
        groups: What is going to be trained and how fast, in the event of that name.
        runs_on: Device, processes and precision, likewise.
    """

    stage: Stage
    step: int
    total: int
    epoch: int = 0
    train_loss: float | None = None
    val: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    groups: tuple[GroupRow, ...] = ()
    runs_on: str = ""


OnEvent: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the optimizer.

    Attributes:
        step: Its number in the run, from 1.
        steps: How many there will be when this phase of the run is over.
        epoch: From 1.
        loss: Of its batch; on a GPU, of the one before.
        lr: The learning rate of each group.
        phase: Of a recipe that trains in several, from 1.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    lr: Mapping[str, float]
    phase: int = 1
