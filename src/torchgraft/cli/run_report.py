"""Keeps a run's `report.html` up to date while the run goes on, and says how to watch it."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from torchgraft.cli.output import Output
from torchgraft.errors import TorchgraftError

if TYPE_CHECKING:
    from torchgraft.finetuning.events import Event

__all__ = ["RunReport"]


class RunReport:
    """A context; inside it, let it hear of the events of `torchgraft.finetune`.

    The page is written when training begins, after every epoch, and however the run ends: each time as a
    whole, so that a reader of the file can load it anew at any time.

    Args:
        folder: The run's.
        output: Is told how to watch it.

    Attributes:
        page: The file.
    """

    def __init__(self, folder: Path, output: Output) -> None:
        self.page = folder / "report.html"
        self._folder = folder
        self._output = output

    def __enter__(self) -> RunReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.write()
        else:
            with suppress(TorchgraftError):  # the run's own error is the one to show
                self.write()

    def __call__(self, event: Event) -> None:
        """Take note of one sign of progress."""
        if event.stage == "groups":
            self._output.remark(f"watch it: torchgraft view {shlex.quote(str(self._folder))}")
        if event.stage in ("groups", "epoch"):
            self.write()

    def write(self) -> None:
        """Write the page as the folder is now; nothing if there is no run in it yet.

        Raises:
            SaveError: It can't be written.
        """
        from torchgraft.finetuning.runs.recorded_run import is_run, read_run
        from torchgraft.report.page import run_page, write_html

        if is_run(self._folder):
            write_html(run_page(read_run(self._folder)), self.page)
