"""`torchgraft demo`: the main job from end to end, on real weights and real photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import RenderableType
from rich.rule import Rule
from rich.text import Text

from torchgraft.cli.options import out, output_options
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from torchgraft.cli.training_progress import TrainingProgress
    from torchgraft.finetuning import Event

__all__ = ["demo"]


@click.command()
@out("Where the report and the run folders go.", required=False)
@output_options
def demo(out: Path | None, output: Output) -> None:
    """Inspect, graft, predict, adapt and fine-tune real weights on real photos, and write a report.

    \b
    torchgraft demo
    torchgraft demo -o demo_report/
    """
    from torchgraft.cli.training_progress import TrainingProgress
    from torchgraft.demo import run

    with TrainingProgress(output) as progress:
        report = run(out or Path("torchgraft-demo"), _Watcher(output, progress))
    output.result(Text(f"report: {report}", style="bold"), lambda: {"report": str(report)})


class _Watcher:
    """Shows the demo's steps."""

    def __init__(self, output: Output, progress: TrainingProgress) -> None:
        self._output = output
        self._progress = progress
        self._steps = 0

    def step(self, title: str) -> None:
        self._steps += 1
        self._output.show(Rule(Text(f"{self._steps}  {title}", style="bold"), align="left", style="dim"))

    def show(self, what: RenderableType) -> None:
        self._output.show(what)

    def progress(self, event: Event) -> None:
        self._progress(event)
