"""`torchgraft demo`: the main job from end to end, on real weights and real photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import RenderableType
from rich.text import Text

from torchgraft.cli.options import out, output_options
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from torchgraft.finetuning import Event

__all__ = ["demo"]


@click.command(short_help="All of it, on real weights and photos.")
@out("Where the report and the run folders go.", required=False)
@output_options
def demo(out: Path | None, output: Output) -> None:
    """Inspect, graft, predict, adapt and fine-tune real weights on real photos, and write a report.

    \b
    torchgraft demo
    torchgraft demo -o demo-report/
    """
    from torchgraft import demo as story
    from torchgraft.cli.training_progress import TrainingProgress

    with TrainingProgress(output) as progress:
        report = story.run(out or Path("demo-out"), _Onlooker(output, progress)).resolve()
    output.result(Text(f"report: {report}", style="bold"), lambda: {"report": str(report)})


class _Onlooker:
    """Shows the demo's steps as remarks, so that `--json` still gives one document."""

    def __init__(self, output: Output, progress: Callable[[Event], None]) -> None:
        self._output = output
        self._steps = 0
        self.progress = progress

    def step(self, title: str) -> None:
        self._steps += 1
        self._output.remark(Text(f"\n{self._steps}. {title}\n", style="bold cyan"))

    def show(self, what: RenderableType) -> None:
        self._output.remark(what)
