"""Draw the pictures of docs/guides/matching.md: what is tried in which order, and the pairs of one block.

    python docs/make_matching_images.py

The pairs and their evidence are those of the plan of EfficientNet-Lite0's published file into timm's model.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

import timm
import torch

import torchgraft as tg
from torchgraft.demo.material import lite0_weights

IMAGES = Path(__file__).parent / "images"

STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2933; }
  .name { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .small { font-size: 12px; fill: #52606d; }
  .title { font-weight: 600; }
  .box { fill: #f5f7fa; stroke: #9aa5b1; }
  .good { fill: #e3f4ef; stroke: #00796b; }
  .stop { fill: #fdeee6; stroke: #b5480c; }
  .line { stroke: #52606d; fill: none; stroke-width: 1.5; }
  .head { fill: #52606d; }
  .shape { stroke: #00796b; fill: none; stroke-width: 2.5; }
  .block { stroke: #2f5fa8; fill: none; stroke-width: 2.5; stroke-dasharray: 9 4; }
  .number { stroke: #b5480c; fill: none; stroke-width: 2.5; stroke-dasharray: 2 5; stroke-linecap: round; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb; }
    .small { fill: #b8c2cc; }
    .box { fill: #2a323b; stroke: #7b8794; }
    .good { fill: #12372f; stroke: #4fc3ae; }
    .stop { fill: #43261a; stroke: #ff9f68; }
    .line { stroke: #b8c2cc; }
    .head { fill: #b8c2cc; }
    .shape { stroke: #4fc3ae; }
    .block { stroke: #85b4f7; }
    .number { stroke: #ff9f68; }
  }
"""


@dataclass(frozen=True)
class Step:
    """One thing that is tried: its name, what it looks at, what it gives if that suffices, and if not."""

    title: str
    looks_at: str
    gives: str
    otherwise: str


STEPS = (
    Step("1  Equal names", "names and shapes", "all pairs: “same name”", "it does not"),
    Step(
        "2  A prefix",
        "module., backbone., _orig_mod. …",
        "all pairs: “same name, prefix aside”",
        "it does not",
    ),
    Step(
        "3  Structure",
        "shapes, numbers, blocks, words, layouts",
        "each pair with its own evidence",
        "a tie is left",
    ),
    Step(
        "4  A run of the model",
        "the order of use, on the meta device",
        "what was tied is told apart",
        "two pairings still fit",
    ),
)


def make_matching_images() -> None:
    """Both pictures."""
    (IMAGES / "matching-order.svg").write_text(order(), encoding="utf-8")
    (IMAGES / "matching-block.svg").write_text(block(), encoding="utf-8")


def order() -> str:
    """What is tried, from top to bottom, and where it ends."""
    width, step = 760, 86
    parts, y = [], 16
    for tried in STEPS:
        parts += [
            f'<rect class="box" x="16" y="{y}" width="330" height="54" rx="6"/>',
            f'<text class="title" x="32" y="{y + 23}">{escape(tried.title)}</text>',
            f'<text class="small" x="32" y="{y + 43}">{escape(tried.looks_at)}</text>',
            arrow(346, y + 27, 440, y + 27),
            f'<text class="small" x="352" y="{y + 20}">explains all</text>',
            f'<rect class="good" x="440" y="{y + 6}" width="304" height="42" rx="6"/>',
            f'<text x="454" y="{y + 32}">{escape(tried.gives)}</text>',
            arrow(60, y + 54, 60, y + step),
            f'<text class="small" x="72" y="{y + 75}">{tried.otherwise}</text>',
        ]
        y += step
    parts += [
        f'<rect class="stop" x="16" y="{y}" width="728" height="54" rx="6"/>',
        f'<text class="title" x="32" y="{y + 23}">Refused: nothing is guessed</text>',
        f'<text class="small" x="32" y="{y + 43}">The error names both pairings and prints the line that '
        "settles it, such as --rename left=first</text>",
    ]
    title = (
        "What is tried in which order: equal names, a prefix, structure, a run of the model, else a refusal"
    )
    return svg(title, width, y + 70, parts)


def block() -> str:
    """The convolutions and norms of one block on both sides, and what pairs each of them."""
    with torch.device("meta"):
        model = timm.create_model("tf_efficientnet_lite0")
    plan = tg.plan(model, lite0_weights())
    entries = [e for e in plan if e.name.startswith("blocks.2.1.") and e.name.endswith(".weight")]
    width, row, top = 860, 46, 62
    parts = [
        '<text class="title" x="16" y="28">efficientnet_lite0.pth</text>',
        f'<text class="title" x="{width - 16}" y="28" text-anchor="end">timm</text>',
    ]
    for index, entry in enumerate(entries):
        y = top + index * row
        shape = " x ".join(map(str, entry.shape))
        kind = (
            "shape" if entry.why.endswith("of its shape") else "number" if "number" in entry.why else "block"
        )
        parts += [
            f'<text class="name" x="16" y="{y}">{escape(str(entry.source).removesuffix(".weight"))}</text>',
            f'<text class="small" x="16" y="{y + 16}">{shape}</text>',
            f'<path class="{kind}" d="M240 {y} H650"/>',
            f'<text class="small" x="445" y="{y - 7}" text-anchor="middle">{escape(entry.why)}</text>',
            f'<text class="name" x="{width - 16}" y="{y}" text-anchor="end">'
            f"{escape(entry.name.removesuffix('.weight'))}</text>",
            f'<text class="small" x="{width - 16}" y="{y + 16}" text-anchor="end">{shape}</text>',
        ]
    title = "The layers of one block in the file and in the model, and the evidence that pairs each of them"
    return svg(title, width, top + len(entries) * row - 8, parts)


def arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    """A line with a head, to the right or down."""
    head = f"{x2 - 8},{y2 - 5} {x2},{y2} {x2 - 8},{y2 + 5}"
    if x1 == x2:
        head = f"{x2 - 5},{y2 - 8} {x2},{y2} {x2 + 5},{y2 - 8}"
    return f'<path class="line" d="M{x1} {y1} L{x2} {y2}"/><polygon class="head" points="{head}"/>'


def svg(title: str, width: int, height: int, parts: list[str]) -> str:
    """A picture that follows the reader's light or dark colours and fetches nothing."""
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n{inside}\n</svg>\n"
    )


if __name__ == "__main__":
    make_matching_images()
