"""A run folder's beginning: a new run, or one that was interrupted and goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchgraft.finetuning.resuming.agreeing import check_same
from torchgraft.finetuning.resuming.progress import Progress
from torchgraft.finetuning.runs.run_folder import RunFolder

__all__ = ["begin_or_go_on"]


def begin_or_go_on(folder: RunFolder | None, progress: Progress, config: Mapping[str, Any]) -> None:
    """Start the folder with this `config`, or take up what is in it; all processes come here.

    Args:
        folder: Of the first process; `None` in the others, or if there is none.
        progress: Looks for checkpoints.
        config: What the run is going to do.

    Raises:
        TrainingError: The folder's run is another one.
        SaveError: It can't be written.
    """
    if folder is not None and folder.earlier:
        check_same(folder.earlier, config, where=str(folder.path))
    going_on = progress.find() if progress.resume else False
    if folder is None:
        return
    if going_on:
        folder.go_on()
    else:
        folder.start(dict(config))
