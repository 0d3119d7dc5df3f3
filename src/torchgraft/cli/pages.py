"""The page that a command writes beside what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from torchgraft.report.page import Page

__all__ = ["written"]


def written(page: Page, path: Path, output: Output) -> None:
    """Write a page and say where it is."""
    from torchgraft.report.page import write_html

    output.remark(f"report: {write_html(page, path)}")
