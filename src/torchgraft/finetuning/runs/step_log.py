"""`steps.jsonl`: a line for each step of the optimizer, written now and then, fewer lines in long runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from torchgraft.errors import SaveError
from torchgraft.finetuning.events import Step
from torchgraft.storage.atomic import write_text_atomic

__all__ = ["StepLog"]

_MOST_LINES = 10_000
_PAUSE = 1.0
_MOST_GROUPS = 8


class StepLog:
    """Appends to the file at most once a second, so that a fast loop does not wait for a disk.

    Args:
        path: The file; it is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[str] = []
        self._written = 0.0
        self._sum = 0.0
        self._count = 0

    def add(self, step: Step, seconds: float) -> None:
        """Note a step, `seconds` after the run began. A line has the mean loss since the line before."""
        self._sum += step.loss if step.loss == step.loss else 0.0
        self._count += 1
        if step.step % -(-step.steps // _MOST_LINES) and step.step != step.steps:
            return
        line = {
            "step": step.step,
            "steps": step.steps,
            "epoch": step.epoch,
            "phase": step.phase,
            "loss": self._sum / self._count,
            "lr": _few(dict(step.lr)),
            "seconds": round(seconds, 3),
        }
        self._sum, self._count = 0.0, 0
        self._lines.append(json.dumps(line) + "\n")
        if time.monotonic() - self._written > _PAUSE:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            SaveError: It can't be written.
        """
        lines, self._lines = self._lines, []
        self._written = time.monotonic()
        if not lines:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))
        except OSError as error:
            raise SaveError(f"can't be written: {error}", where=str(self.path)) from error

    def cut(self, step: int) -> None:
        """Forget what was written of later steps, which are going to be taken again."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        kept = [line for line in lines if _step_of(line) <= step]
        write_text_atomic(self.path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _few(rates: dict[str, Any]) -> dict[str, Any]:
    """All of them, or the first, the last and the highest of many."""
    if len(rates) <= _MOST_GROUPS:
        return rates
    names = list(rates)
    shown = {names[0], names[-1], max(names, key=lambda name: float(rates[name]))}
    return {name: rates[name] for name in names if name in shown}
