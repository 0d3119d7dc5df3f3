"""Make the pictures of the README and the guides from the real thing.

    python docs/make_images.py
    python docs/make_run_images.py    # apart, for it fine-tunes three times

Plans and refusals are drawn as SVG from what the terminal shows; pages are photographed with Chromium.
"""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import timm
from make_matching_images import make_matching_images
from make_page_images import MOBILENET_V2, Counter, make_page_images
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.text import Text

import torchgraft as tg
from torchgraft.cli.failures import describe
from torchgraft.cli.output import Output
from torchgraft.demo.material import lite0_weights
from torchgraft.report.terminal import plan_view

IMAGES = Path(__file__).parent / "images"
WIDTH = 132  # columns

# rich's own format fetches its font from another host; these pictures use the reader's.
SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono"
)


def main() -> None:
    """All pictures."""
    IMAGES.mkdir(exist_ok=True)
    lite0 = tg.plan(timm.create_model("tf_efficientnet_lite0"), lite0_weights())
    lite0 = replace(lite0, checkpoint="efficientnet_lite0.pth")  # not this machine's folders
    draw("plan", [plan_view(lite0)], "torchgraft plan timm/tf_efficientnet_lite0 efficientnet_lite0.pth")
    counter = replace(tg.plan(Counter(), MOBILENET_V2), checkpoint="mobilenet_v2.pth")
    draw("refusal", refused(counter), "torchgraft graft my_net:Counter mobilenet_v2.pth -o counter/")
    make_page_images()
    make_matching_images()


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


if __name__ == "__main__":
    main()
