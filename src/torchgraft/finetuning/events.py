"""What a run says while it goes on: enough to draw a progress bar and a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Event", "OnEvent", "Stage"]

Stage: TypeAlias = Literal["reading", "features", "training", "validating", "epoch", "saving"]


@dataclass(frozen=True, slots=True)
class Event:
    """One sign of progress.

    Attributes:
        stage: What is being done; `epoch` once after each epoch, with its results in `val`.
        step: How much of it is done, in images or, for `training`, in steps of the optimizer.
        total: How much there is to do; for `epoch`, the number of epochs.
        epoch: Which epoch it is, from 1; 0 outside of any.
        train_loss: Mean loss over this epoch's batches so far.
        val: `loss`, `accuracy` and `balanced_accuracy` on the validation images, after an epoch.
        seconds: Since the run began.
    """

    stage: Stage
    step: int
    total: int
    epoch: int = 0
    train_loss: float | None = None
    val: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


OnEvent: TypeAlias = Callable[[Event], None]
