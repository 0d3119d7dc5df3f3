"""Losses and measures for TensorBoard, Weights & Biases and whatever else accelerate can write to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from torchgraft.errors import MissingDependencyError, TrainingError
from torchgraft.finetuning.events import Step
from torchgraft.finetuning.result import Epoch

__all__ = ["Log", "epoch_values", "paced", "step_values", "tracked", "unheard"]

Log: TypeAlias = Callable[[Mapping[str, float], int], object]
"""Takes values by name, and the step of the optimizer that they are of."""

_PAUSE = 1.0


def unheard(_values: Mapping[str, float], _step: int) -> None:
    """Where there is no tracker."""


@contextmanager
def tracked(
    accelerator: Any, names: str | Sequence[Any], folder: Path | None, config: Mapping[str, Any]
) -> Iterator[Log]:
    """Inside, the function that it gives writes to these trackers; afterwards they are closed.

    Args:
        accelerator: Whose trackers they become.
        names: As accelerate calls them, or trackers of the user's own (`accelerate.tracking.GeneralTracker`).
        folder: For those that write files.
        config: What the run is going to do; its plain values are sent.

    Raises:
        TrainingError: There is no such tracker, or it writes files and there is no folder.
        MissingDependencyError: Its package is absent.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        yield unheard
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, filter_trackers, get_available_trackers

    available = [str(getattr(name, "value", name)) for name in get_available_trackers()]
    for name in wanted:
        if not isinstance(name, str):
            continue
        if name not in LOGGER_TYPE_TO_CLASS:
            raise TrainingError(
                f"there is no tracker {name!r}", hint=f"trackers: {', '.join(LOGGER_TYPE_TO_CLASS)}"
            )
        if name not in available:
            raise MissingDependencyError(
                f"track={name!r} needs {name}, which is not installed",
                hint=f"pip install {name}",
            )
    try:
        accelerator.log_with = filter_trackers(wanted, folder)
    except ValueError as error:
        raise TrainingError(str(error), hint="out= names a run folder, which they write in") from error
    accelerator.project_configuration.set_directories(str(folder) if folder is not None else None)
    accelerator.init_trackers("torchgraft", dict(_plain(config)))
    try:
        yield lambda values, step: accelerator.log(dict(values), step=step)
    finally:
        accelerator.end_training()
        accelerator.trackers.clear()


def paced(log: Log) -> Log:
    """The same, at most once a second: some trackers write to a disk or the network each time."""
    last = float("-inf")

    def now_and_then(values: Mapping[str, float], step: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PAUSE:
            last = time.monotonic()
            log(values, step)

    return now_and_then


def step_values(step: Step) -> dict[str, float]:
    """What there is to tell of a step."""
    return {"train/step_loss": step.loss, **{f"lr/{name}": rate for name, rate in step.lr.items()}}


def epoch_values(epoch: Epoch) -> dict[str, float]:
    """What there is to tell of an epoch."""
    val = {f"val/{name}": value for name, value in epoch.val.items()}
    return {"epoch": epoch.epoch, "train/loss": epoch.train_loss, **val}


def _plain(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _plain(value, f"{prefix}{name}.")
        elif isinstance(value, (bool, int, float, str)):
            yield f"{prefix}{name}", value
