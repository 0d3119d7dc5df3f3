"""`torchgraft doctor`: what is installed here, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from torchgraft.cli.options import output_options
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from torchgraft.cli.installation import Installation, Part

__all__ = ["doctor"]


@click.command()
@output_options
def doctor(output: Output) -> int:
    """Show versions, accelerators, optional parts and the cache; exit with 1 if something is wrong.

    \b
    torchgraft doctor
    torchgraft doctor --json > report.json
    """
    from torchgraft.cli.installation import installation

    found = installation()
    output.result(_view(found), lambda: {name: getattr(found, name) for name in type(found).__slots__})
    return 1 if found.problems else 0


def _view(found: Installation) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from torchgraft.report.quantities import memory, plural
    from torchgraft.report.safe_text import clean

    cache = found.cache
    held = f"{plural(int(cache['files']), 'file')}, {memory(int(cache['bytes']))}"
    sections = {
        f"torchgraft {found.torchgraft}": found.machine,
        "PyTorch": found.torch,
        "Parts": dict(_parts(found.parts)),
        "Cache": {
            "folder": str(cache["folder"]),
            "holds": f"{held}; {memory(int(cache['free']))} free on its disk",
        },
        "Settings": found.settings,
    }
    shown: list[RenderableType] = []
    for heading, facts in sections.items():
        if facts:
            shown += [Text(heading, "bold"), _facts(facts), Text("")]
    shown += [Text(f"✗ {clean(problem, limit=1000)}", "red") for problem in found.problems]
    return Group(*shown, *([] if found.problems else [Text("✓ nothing is wrong", "green")]))


def _facts(facts: dict[str, str]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from torchgraft.report.safe_text import clean

    table = Table.grid(padding=(0, 2), pad_edge=True)
    table.add_column(min_width=12, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(clean(name)), Text(clean(value, limit=1000)))
    return table


def _parts(parts: tuple[Part, ...]) -> Iterator[tuple[str, str]]:
    for extra in dict.fromkeys(part.extra for part in parts):
        ours = [part for part in parts if part.extra == extra]
        have = ", ".join(f"{part.name} {part.found}" for part in ours if part.found is not None)
        missing = ", ".join(part.name for part in ours if part.found is None)
        advice = f"without {missing}: pip install 'torchgraft[{extra}]'" if missing else ""
        yield extra or "always", "; ".join(filter(None, (have, advice)))
