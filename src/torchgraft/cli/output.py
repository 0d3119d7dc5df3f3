"""The one place that writes: results on stdout for people or as one JSON document, remarks on stderr.

rich is imported when something is written: `--help` doesn't need it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import IO, TYPE_CHECKING

from torchgraft.cli.json_text import json_text
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from torchgraft.cli.failures import Failure

__all__ = ["Output"]

_WIDTH_OF_FILES = 120  # columns, where neither a terminal nor COLUMNS says


class Output:
    """What a command talks to.

    Args:
        json: Results are one JSON document; nothing else goes to stdout.
        quiet: No remarks and no progress.
        silent: Nothing at all but errors: another process says it.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, silent: bool = False) -> None:
        self.json = json and not silent
        self.quiet = quiet or silent
        self.silent = silent
        self._stdout = sys.stdout
        self._stderr = sys.stderr

    @cached_property
    def _results(self) -> Console:
        return _console(self._stdout)

    @cached_property
    def _remarks(self) -> Console:
        return _console(self._stderr)

    @property
    def lively(self) -> bool:
        """Whether a progress bar can be drawn: remarks go to a terminal and are wanted."""
        return self._remarks.is_terminal and not self.quiet

    @property
    def remarks(self) -> Console:
        """Where progress is drawn."""
        return self._remarks

    def result(
        self, shown: RenderableType | None, data: Callable[[], Mapping[str, object]], *, lines: int = 0
    ) -> None:
        """A command's result: `shown` for people, or with `--json` what `data` returns. Once a command.

        Where `lines` says that it is longer than the terminal is high, it comes by the user's pager.
        """
        if self.silent:
            return
        if self.json:
            self._stdout.write(json_text(data()))
            self._stdout.flush()
        elif shown is not None:
            paged = self._results.is_terminal and lines > self._results.height
            with self._results.pager() if paged else nullcontext():
                self._results.print(shown)

    def line(self, text: str) -> None:
        """A result of one line that stays whole however long it is, such as a path; nothing with `--json`."""
        from rich.text import Text

        if not self.json and not self.silent:
            self._results.print(Text(text), soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A part of the result for people, while a long command goes on; nothing with `--json`."""
        if not self.json and not self.silent:
            self._results.print(what)

    def remark(self, text: RenderableType) -> None:
        """Something to read while a command works. Strings are shown as they are, without markup."""
        from rich.text import Text

        if not self.quiet:
            if isinstance(text, str):
                self._remarks.print(Text(text), soft_wrap=True)  # one line a remark, however narrow it is
            else:
                self._remarks.print(text)

    @contextmanager
    def hearing(self, logger: str) -> Iterator[None]:
        """Remark on the warnings that a library logs meanwhile."""
        handler = _Remarks(self)
        logging.getLogger(logger).addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger(logger).removeHandler(handler)

    def fail(self, failure: Failure) -> None:
        """An error of one screen: what, where, the next step."""
        if self.json:
            self._stdout.write(json_text(failure.to_json()))
            self._stdout.flush()
            return
        from rich.text import Text

        first, *rest = _lines(failure.message)
        self._remarks.print(Text.assemble((f"✗ {failure.type}", "bold red"), f"  {first}"))
        for line in rest:
            self._remarks.print(Text(line))
        if failure.where:
            self._remarks.print(Text.assemble(("  in ", "dim"), clean(failure.where)))
        if failure.hint:
            self._remarks.print(Text.assemble(("  → ", "bold green"), "\n    ".join(_lines(failure.hint))))


class _Remarks(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.remark(f"note: {clean(record.getMessage(), limit=1000)}")


def _lines(text: str) -> list[str]:
    return [clean(line, limit=1000) for line in text.splitlines()] or [""]


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a "?" where a terminal lacks a character, not a crash
    known_width = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if known_width else _WIDTH_OF_FILES, markup=False, highlight=False)
