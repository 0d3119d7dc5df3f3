"""Draws the data's way through the rooms: `python docs/make_architecture_image.py`."""

from __future__ import annotations

from html import escape
from pathlib import Path

WIDTH, HEIGHT = 1060, 660
BOX, TALL = 180, 62

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2933; }
.room { font-weight: 600; font-size: 15px; }
.small, .arrow { font-size: 12px; fill: #52606d; }
rect { fill: #f5f7fa; stroke: #7b8794; rx: 6; }
.thing { fill: #e3f2f1; stroke: #0f766e; rx: 30; }
.heart { fill: #fff4d6; stroke: #b7791f; }
path { fill: none; stroke: #52606d; stroke-width: 1.4; }
.head { fill: #52606d; stroke: none; }
.paper { fill: #ffffff; stroke: none; rx: 0; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb; }
  .small, .arrow { fill: #b8c2cc; }
  rect { fill: #2b333d; stroke: #8793a0; }
  .thing { fill: #123b3a; stroke: #2dd4bf; }
  .heart { fill: #443512; stroke: #e0a93b; }
  path { stroke: #b8c2cc; }
  .head { fill: #b8c2cc; }
  .paper { fill: #1b2027; }
}
"""

COLUMNS = [20, 230, 440, 650, 860]


def box(column: int, y: int, name: str, *lines: str, kind: str = "", tall: int = TALL) -> str:
    """A room, or a thing that is no room: its name, and what goes on in it."""
    x = COLUMNS[column]
    middle = x + BOX / 2
    top = y + tall / 2 - 8 * len(lines) + 5
    rows = [f'<text class="room" x="{middle}" y="{top}" text-anchor="middle">{escape(name)}</text>']
    rows += [
        f'<text class="small" x="{middle}" y="{top + 17 * i}" text-anchor="middle">{escape(line)}</text>'
        for i, line in enumerate(lines, 1)
    ]
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{BOX}" height="{tall}"/>' + "".join(rows)


def arrow(*points: tuple[float, float], both: bool = False) -> str:
    """A line through these points with a head at its end, or at both ends."""
    way = "M" + " L".join(f"{x} {y}" for x, y in points)
    start = ' marker-start="url(#head)"' if both else ""
    return f'<path d="{way}" marker-end="url(#head)"{start}/>'


def words(x: float, y: float, text: str, anchor: str = "middle") -> str:
    """What goes along an arrow."""
    return f'<text class="arrow" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def drawing() -> str:
    """The whole picture."""
    left = COLUMNS
    right = [x + BOX for x in COLUMNS]
    middle = [x + BOX / 2 for x in COLUMNS]
    a, b, c, d, e = 30, 168, 366, 484, 590  # the rows
    half = TALL / 2
    parts = [
        box(0, a, "your weights", "file, folder, address", kind="thing"),
        box(1, a, "storage", "bytes, mapped or fetched"),
        box(2, a, "formats", "named lazy tensors"),
        box(3, a, "checkpoint", "which part is the weights"),
        box(4, a, "measuring", "the values of one file;", "comparing: of two"),
        *(arrow((right[i], a + half), (left[i + 1] - 3, a + half)) for i in range(4)),
        box(2, b + 32, "matching", "pairs with evidence,", "or a refusal", tall=80),
        box(
            3,
            b,
            "planning",
            "Plan: one status a tensor",
            "the gate",
            "apply: all or nothing",
            kind="heart",
            tall=144,
        ),
        box(4, b, "adapting", "ops, each with an inverse"),
        box(4, b + 82, "anatomy", "stem, head, positions"),
        arrow((middle[3], a + TALL), (middle[3], b - 3)),
        words(middle[3] + 8, b - 20, "names, shapes, dtypes", "start"),
        arrow((right[2] + 3, b + 72), (left[3] - 3, b + 72), both=True),
        arrow((right[3] + 3, b + half), (left[4] - 3, b + half), both=True),
        arrow((left[4], b + 82 + half), (right[3] + 3, b + 82 + half)),
        box(2, c, "zoo", "torchvision, timm, hf,", "module:callable"),
        box(3, c, "your model", "any nn.Module", kind="thing"),
        arrow((right[2], c + half), (left[3] - 3, c + half)),
        arrow((middle[3], b + 144), (middle[3], c - 3), both=True),
        words(middle[3] - 8, c - 20, "its names and shapes ↑", "end"),
        words(middle[3] + 8, c - 20, "↓ values", "start"),
        arrow((right[3], c + half), (middle[4], c + half), (middle[4], b + 82 + TALL + 3)),
        words(middle[4] - 8, c + half - 8, "run, if asked", "end"),
        *(
            box(i, d, name, line)
            for i, (name, line) in enumerate(
                [
                    ("surgery", "other sizes, weights kept"),
                    ("finetuning", "recipes, tasks, a run folder"),
                    ("verifying", "outputs, statistics"),
                    ("saving", "a file or folder, atomic"),
                    ("exporting", "timm, hf, ONNX, checked"),
                ]
            )
        ),
        *(arrow((middle[3], c + TALL), (middle[3], d - 30), (x, d - 30), (x, d - 3)) for x in middle),
        f'<rect x="{COLUMNS[0]}" y="{e}" width="{right[4] - COLUMNS[0]}" height="50"/>',
        f'<text class="room" x="{WIDTH / 2}" y="{e + 21}" text-anchor="middle">report, viewing, cli</text>',
        f'<text class="small" x="{WIDTH / 2}" y="{e + 39}" text-anchor="middle">'
        "show plans, checkpoints, differences and runs: in the terminal, as a page, to you alone</text>",
        *(arrow((middle[i], d + TALL), (middle[i], e - 3)) for i in range(5)),
    ]
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="head" d="M0 0 L8 4 L0 8 Z"/></marker>'
    )
    title = "From a file of weights to a filled model, and what is done with it: one box a room of the code"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}"><title>{title}</title><style>{STYLE}</style><defs>{head}</defs>'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>' + "\n".join(parts) + "</svg>\n"
    )


if __name__ == "__main__":
    (Path(__file__).parent / "images" / "architecture.svg").write_text(drawing(), "utf-8")
