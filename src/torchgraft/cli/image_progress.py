"""A count of images with their rate, where nobody knows how many there will be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from torchgraft.cli.output import Output

__all__ = ["images_counted"]

T = TypeVar("T")


def images_counted(found: Iterable[T], output: Output, words: str) -> Iterator[T]:
    """The same one after the other; on a terminal it is shown how many there have been."""
    if not output.lively:
        yield from found
        return
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    columns = (
        SpinnerColumn(),
        TextColumn(f"{words} {{task.completed:,.0f}}", markup=False),
        Rate(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.remarks, transient=True) as bars:
        bar = bars.add_task("", total=None)
        for one in found:
            bars.advance(bar)
            yield one
