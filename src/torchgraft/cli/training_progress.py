"""Shows how a fine-tuning run goes on: bars on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from torchgraft.cli.output import Output
from torchgraft.cli.training_groups import DryRunError, groups_view
from torchgraft.report.quantities import percent

if TYPE_CHECKING:
    from torchgraft.finetuning.events import Event

__all__ = ["TrainingProgress"]

_WORDS = {
    "reading": "reading images",
    "features": "computing features",
    "training": "training",
    "validating": "validating",
    "saving": "saving",
}


_MEASURES = 3
"""As many fit on a line; the rest is in the table at the end and in the run folder."""


class TrainingProgress:
    """A context; inside it, give it to `torchgraft.finetune` as `on_event`."""

    def __init__(self, output: Output, *, stop_at_groups: bool = False) -> None:
        self._output = output
        self._stop_at_groups = stop_at_groups
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._stage = ""

    def __enter__(self) -> TrainingProgress:
        if self._output.lively:
            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._output.remarks,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Take note of one sign of progress."""
        if event.stage == "groups":
            self._groups(event)
        elif event.stage == "epoch":
            self._output.remark(_epoch_line(event))
        elif self._bars is not None:
            self._move(event)
        elif event.stage != self._stage and event.stage in ("reading", "features"):
            self._output.remark(f"{_WORDS[event.stage]} ({event.total:,})")
        self._stage = event.stage

    def _groups(self, event: Event) -> None:
        if self._stop_at_groups:
            raise DryRunError(event.groups)
        if event.runs_on:
            self._output.remark(f"running on: {event.runs_on}")
        if event.groups:
            self._output.remark(groups_view(event.groups))

    def _move(self, event: Event) -> None:
        assert self._bars is not None
        words = _WORDS[event.stage] + (f", epoch {event.epoch}" if event.epoch else "")
        if self._bar is None or event.stage != self._stage:
            if self._bar is not None:
                self._bars.remove_task(self._bar)
            self._bar = self._bars.add_task(words, total=event.total)
        self._bars.update(self._bar, description=words, completed=event.step, total=event.total)


def _epoch_line(event: Event) -> str:
    train = f"  training loss {event.train_loss:.4f}" if event.train_loss is not None else ""
    shown = list(event.val.items())[:_MEASURES]
    val = "".join(
        f"  {name.replace('_', ' ')} {percent(value) if 'accuracy' in name else f'{value:.4f}'}"
        for name, value in shown
    )
    return f"epoch {event.epoch:>3}/{event.total}{train}{'  validation:' if val else ''}{val}"
