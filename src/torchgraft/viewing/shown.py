"""What there is to see at a path, chosen by what the path is: a run, several runs, a plan, checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torchgraft.errors import DataError, TorchgraftError
from torchgraft.finetuning.runs.recorded_run import is_run, read_run, revision
from torchgraft.report.page import (
    Page,
    checkpoint_page,
    diff_page,
    graft_page,
    render_html,
    run_page,
    runs_page,
)

__all__ = ["FixedPage", "Runs", "Shown", "shown"]

_MOST_RUNS = 50


class Shown(Protocol):
    """Something that is shown as a page, and may change."""

    def revision(self) -> str:
        """Another text whenever the page would be another one."""
        ...

    def html(self, *, live: bool = False) -> str:
        """The page; a live one asks its server for news."""
        ...


@dataclass(frozen=True, slots=True)
class Runs:
    """Fine-tuning runs, as their folders are at the time of asking."""

    folders: tuple[Path, ...]

    def revision(self) -> str:
        """From the times and sizes of the runs' files."""
        return hashlib.sha256("\n".join(map(revision, self.folders)).encode()).hexdigest()[:32]

    def html(self, *, live: bool = False) -> str:
        """One run, or several compared."""
        now = self.revision()  # before reading: what changes meanwhile is news at the next time
        runs = [read_run(folder) for folder in self.folders]
        page = (
            run_page(runs[0], revision=now, live=live)
            if len(runs) == 1
            else runs_page(runs, revision=now, live=live)
        )
        return render_html(page, live=live)


@dataclass(frozen=True, slots=True)
class FixedPage:
    """A page about what doesn't change while it is looked at."""

    page: Page

    def revision(self) -> str:
        """Always the same."""
        return ""

    def html(self, *, live: bool = False) -> str:  # noqa: ARG002 (nothing of it is live)
        """The page."""
        return render_html(self.page)


def shown(paths: Sequence[Path | str]) -> Shown:
    """What is at these paths.

    Run folders: one run, or several compared. A JSON file: a plan. Anything else: a checkpoint, or two
    compared by names, shapes and dtypes.

    Raises:
        DataError: They are of different kinds, or too many.
        CheckpointError: What is neither run nor plan isn't a checkpoint either.
    """
    places = [Path(path) for path in paths]
    runs = [is_run(place) for place in places]
    if all(runs):
        if len(places) > _MOST_RUNS:
            raise DataError(
                f"{len(places)} runs are too many for one page", hint=f"name {_MOST_RUNS} at most"
            )
        return Runs(tuple(places))
    if any(runs):
        other = places[runs.index(False)]
        raise DataError("not a run folder, as the others are", where=str(other), hint="view it on its own")
    if len(places) == 1:
        return FixedPage(_page(places[0], str(paths[0])))
    if len(places) == 2:
        from torchgraft.comparing import diff

        return FixedPage(diff_page(diff(str(paths[0]), str(paths[1]))))
    raise DataError(
        f"{len(places)} checkpoints can't be compared on one page", hint="name one, or two; or run folders"
    )


def _page(place: Path, name: str) -> Page:
    if place.suffix.lower() == ".json" and place.is_file():
        from torchgraft.planning import Plan

        try:
            return graft_page(Plan.load(place))
        except TorchgraftError:
            pass  # an index of shards, perhaps: whatever it is, the checkpoint's error says it better
    from torchgraft import checkpoint

    return checkpoint_page(checkpoint.open(name))
