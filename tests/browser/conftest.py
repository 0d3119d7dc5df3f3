"""Pages in a real browser: Chromium without a window, driven by Playwright. Skipped where it is absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LOCAL = ("file:", "data:", "blob:", "about:")


@dataclass
class Heard:
    """What a page did besides being shown.

    Attributes:
        errors: Console errors and warnings, uncaught exceptions, refusals of the content security policy.
        requests: Addresses that it asked for, but for files, data and what `allowed` begins.
        allowed: Beginnings of addresses that it may ask for, such as a server's of the test itself.
    """

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()

    def asked(self, url: str) -> None:
        if not url.startswith((*_LOCAL, *self.allowed)):
            self.requests.append(url)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of this folder. Each test gets a profile of its own, see `page`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def heard() -> Heard:
    """What the test's page did; whatever is left in it fails the test when it ends."""
    return Heard()


@pytest.fixture
def open_page(browser: Any, heard: Heard) -> Iterator[Callable[..., Any]]:
    """A function that gives a fresh page; its arguments are those of Playwright's `new_context`."""
    contexts = []

    def opened(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and heard.errors.append(said.text))
        page.on("pageerror", lambda error: heard.errors.append(str(error)))
        page.on("request", lambda request: heard.asked(request.url))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert heard.errors == []
    assert heard.requests == []


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    """A fresh page of 1280 × 900 in light colours; see `open_page` for others."""
    return open_page(color_scheme="light")


@pytest.fixture
def axe() -> Callable[[Any], list[str]]:
    """A function that runs axe-core in a page and gives its serious and critical violations, a line each."""
    package = pytest.importorskip("axe_playwright_python.sync_playwright", reason="it brings axe-core")

    def violations(page: Any) -> list[str]:
        found = package.Axe().run(page).response["violations"]
        return [
            f"{each['impact']} {each['id']}: {node['html'][:160]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    return violations
