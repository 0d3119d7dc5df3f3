"""How a run stands, read from its folder."""

from __future__ import annotations

import shlex
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from torchgraft.report.measures import is_number
from torchgraft.report.page.state import StateSection
from torchgraft.report.quantities import duration
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.finetuning.runs.recorded_run import RecordedRun

__all__ = ["state_of"]

_LATEST = 5  # epochs whose time says how long the next ones take


def state_of(run: RecordedRun, *, revision: str = "", live: bool = False) -> StateSection:
    """The section that says it."""
    return StateSection(
        status=run.status,
        done=len(run.history),
        epochs=run.epochs,
        details=tuple(_details(run)),
        error=str(run.config.get("error", "")) if run.status in ("failed", "interrupted") else "",
        commands=tuple(_commands(run)),
        revision=revision,
        live=live,
    )


def _details(run: RecordedRun) -> list[str]:
    lines = []
    if (started := _when(run.config.get("started"))) is not None:
        lines.append(f"Begun {started:%Y-%m-%d %H:%M} UTC.")
    if run.status == "running":
        if not run.history:
            lines.append("No epoch has ended yet.")
        if run.steps and isinstance(step := run.steps[-1].get("step"), int):
            total = run.steps[-1].get("steps")
            of = f" of {total:,}" if isinstance(total, int) and total >= step else ""
            lines.append(f"Step {step:,}{of}.")
        if (left := _left(run)) is not None:
            lines.append(f"About {duration(left)} to go.")
        if run.written is not None:
            lines.append(
                f"Last heard of {datetime.fromtimestamp(run.written, timezone.utc):%Y-%m-%d %H:%M:%S} UTC."
            )
    if run.status == "finished" and run.best_epoch is not None:
        lines.append(f"The model of epoch {run.best_epoch} is in {run.path / 'model'}.")
    return lines


def _left(run: RecordedRun) -> float | None:
    """Seconds, from how long the latest epochs took."""
    took = [entry.get("seconds") for entry in run.history[-_LATEST:]]
    known = [float(seconds) for seconds in took if is_number(seconds) and 0 <= seconds < 1e9]
    if not known or run.epochs is None or run.epochs <= len(run.history):
        return None
    return sum(known) / len(known) * (run.epochs - len(run.history))


def _commands(run: RecordedRun) -> list[tuple[str, str]]:
    folder = clean(shlex.quote(str(run.path)), limit=4000)
    if run.status == "running":
        return [
            ("Watch it:", f"torchgraft view {folder}"),
            ("If it was killed, go on where it stopped:", f"torchgraft finetune --resume {folder}"),
        ]
    if run.status in ("interrupted", "failed"):
        return [("Go on where it stopped:", f"torchgraft finetune --resume {folder}")]
    if run.status == "finished":
        return [("Use it:", f"torchgraft predict {folder} IMAGES")]
    return []


def _when(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
