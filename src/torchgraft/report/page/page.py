"""One self-contained HTML page: one style sheet and one script, both inlined and named by their hashes in the
page's content security policy; nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from torchgraft import __version__
from torchgraft.report.page.data_block import data_block
from torchgraft.report.page.style_rules import StyleRules
from torchgraft.report.safe_text import clean
from torchgraft.storage.atomic import write_text_atomic

__all__ = ["Figure", "Page", "Section", "render_html", "write_html"]


_TEMPLATES = Path(__file__).parent / "templates"


class Section(Protocol):
    """A part of the page: a frozen dataclass and the template that draws it.

    It may have two more attributes: `scripts` and `styles`, files under `templates/` that it needs beside
    `page.js` and `style.css`; a page has each once. What its view has as `data` stands in the page as JSON
    in an element of the id `section.data_id`, for its script.
    """

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


def render_html(page: Page, *, live: bool = False) -> str:
    """The page as text.

    Args:
        page: What to show.
        live: Let its script ask the server that the page came from. By default it may ask nobody.
    """
    rules = StyleRules()
    sections = [_rendered(number, section, rules) for number, section in enumerate(page.sections, 1)]
    style = "\n".join([*_files(page.sections, "styles", "style.css"), rules.text])
    parts = "\n".join(_files(page.sections, "scripts", "page.js"))
    script = f'(() => {{\n"use strict";\n{parts}\n}})();'
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            sections=sections,
            version=__version__,
            style=Markup(style),  # noqa: S704 (files of this package, and numbers)
            script=Markup(script),  # noqa: S704 (files of this package)
            style_hash=_hash(style),
            script_hash=_hash(script),
            live=live,
        )
    )


def _rendered(number: int, section: Section, rules: StyleRules) -> Mapping[str, object]:
    view = {
        "title": section.title,
        "text": "",
        "data_id": f"data-{number}",
        "number": number,
        **section.view(),
    }
    data = view.pop("data", None)
    body = _environment().get_template(section.template).render(section=view, place=rules.place)
    return {
        **view,
        "body": Markup(body),  # noqa: S704 (what a template gave is escaped)
        "data": None if data is None else data_block(data),
    }


def _files(sections: Iterable[Section], attribute: str, first: str) -> list[str]:
    """The texts of the files that the sections need, each once, in order."""
    named = [name for section in sections for name in getattr(section, attribute, ())]
    return [(_TEMPLATES / name).read_text("utf-8").strip() for name in dict.fromkeys([first, *named])]


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
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
