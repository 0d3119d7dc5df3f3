"""A page for whatever there is to look at: a plan, a checkpoint, a comparison."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgraft.checkpoint import Checkpoint
    from torchgraft.comparing import Diff
    from torchgraft.planning import Plan
    from torchgraft.report.page import Page

__all__ = ["page_of", "write_report"]


def write_report(
    what: Plan | Checkpoint | Diff, path: str | os.PathLike[str], *, values: bool = True
) -> Path:
    """Write a page about it: one HTML file that loads nothing, to be opened in a browser.

    Args:
        what: A plan, a checkpoint, or a comparison of two (`diff(a, b, values=True)` for distances).
        path: Where the page goes. It is replaced in one step.
        values: Read the values, too: of a checkpoint all, for NaN, dead, constant and duplicated tensors; of
            a plan's checkpoint up to 1 GiB, for histograms before and after.

    Raises:
        CheckpointError: A tensor can't be read.
        SaveError: The page can't be written.
    """
    from torchgraft.report.page import write_html

    return write_html(page_of(what, values=values), path)


def page_of(what: Plan | Checkpoint | Diff, *, values: bool = True) -> Page:
    """The page itself; see `write_report`."""
    from torchgraft.checkpoint import Checkpoint
    from torchgraft.comparing import Diff
    from torchgraft.report.page import checkpoint_page, diff_page, graft_page

    if isinstance(what, Diff):
        return diff_page(what)
    if isinstance(what, Checkpoint):
        from torchgraft.measuring import measure

        return checkpoint_page(what, stats=measure(what) if values else None)
    from torchgraft.planning.histograms import histograms

    return graft_page(what, values=histograms(what) if values else None, script=what.python())
