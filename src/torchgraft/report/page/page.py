"""One self-contained HTML page: no script, no font, no image from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from torchgraft import __version__
from torchgraft.report.safe_text import clean
from torchgraft.storage.atomic import write_text_atomic

__all__ = ["Figure", "Page", "Section", "render_html", "write_html"]


class Section(Protocol):
    """A part of the page: a frozen dataclass and the template that draws it."""

    @property
    def title(self) -> str:
        """The heading."""
        ...

    @property
    def template(self) -> str:
        """The file under `templates/` that draws the section."""
        ...

    def view(self) -> Mapping[str, object]:
        """What the template needs. Text may be anything: the page escapes it."""
        ...


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that matters, at the top of the page: `Figure("18 of 20", "photos recognised")`."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes:
        title: The heading.
        subtitle: One or two sentences below it.
        sections: What follows, in order.
        figures: The numbers that matter most, shown before the sections.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    figures: tuple[Figure, ...] = ()


def write_html(page: Page, path: str | os.PathLike[str]) -> Path:
    """Write the page to a file, all or nothing.

    Raises:
        SaveError: It can't be written.
        DataError: An image that it shows can't be read.
    """
    path = Path(path)
    write_text_atomic(path, render_html(page))
    return path


def render_html(page: Page) -> str:
    """The page as text."""
    sections = [
        {"title": section.title, "template": section.template, **section.view()} for section in page.sections
    ]
    return _environment().get_template("page.html").render(page=page, sections=sections, version=__version__)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _harmless(value: object) -> object:
    """Applied to whatever a template prints: names from files can't carry control characters in."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return clean(value, limit=len(value) + 1)
    return value
