"""Shows downloads, whichever command they are for: a bar on a terminal, elsewhere only what goes wrong."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from torchgraft.storage.download_event import DownloadEvent

__all__ = ["DownloadProgress"]


class DownloadProgress:
    """A context; inside it, give it to `downloads_told`. Nothing is imported before there is a download."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bars: Progress | None = None
        self._bar: TaskID | None = None

    def __enter__(self) -> DownloadProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, event: DownloadEvent) -> None:
        """Take note of one sign of progress."""
        if event.stage == "waiting":
            self._output.remark(f"waiting: another process downloads {event.name}")
        elif event.stage == "retrying":
            self._output.remark(f"{event.why}; trying again")
        elif self._output.lively:
            self._move(event)

    def _move(self, event: DownloadEvent) -> None:
        if self._bars is None:
            from torchgraft.cli.byte_progress import byte_bars
            from torchgraft.report.safe_text import clean

            self._bars = byte_bars(self._output)
            self._bars.start()
            self._bar = self._bars.add_task(clean(event.name), total=event.total)
        assert self._bar is not None
        self._bars.update(self._bar, completed=event.received, total=event.total)
        if event.received == event.total:
            self._stop()

    def _stop(self) -> None:
        bars, self._bars = self._bars, None
        if bars is not None:
            bars.stop()
