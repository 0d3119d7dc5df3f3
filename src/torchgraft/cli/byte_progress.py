"""A bar of bytes with rate and time left, for whatever takes more than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["byte_bars", "byte_progress"]


def byte_bars(output: Output) -> Progress:
    """A context that shows bars of bytes; for where `output.lively`."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=output.remarks,
        transient=True,
    )


@contextmanager
def byte_progress(output: Output, words: str) -> Iterator[Callable[[int, int], None] | None]:
    """What to call with the bytes that are done and those that there are; `None` where nobody sees it.

    Args:
        output: Where remarks go.
        words: What is done, such as `"comparing"`.
    """
    if not output.lively:
        yield None
        return
    with byte_bars(output) as bars:
        bar = bars.add_task(words, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
