"""What to copy when the gate is closed: options for the command line and the same as Python."""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.report.quantities import plural

if TYPE_CHECKING:
    from torchgraft.planning import Plan

__all__ = ["Remedy", "remedies"]

_MOST = 8


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way on: what it means, as options of the command line, as Python."""

    title: str
    shell: str
    python: str


def remedies(plan: Plan) -> list[Remedy]:
    """Ways to open the gate: names that only one pairing of shapes leaves, what to declare as new."""
    found = []
    if pairs := _pairs(plan):
        these = "this is" if len(pairs) == 1 else "these are"
        found.append(
            Remedy(
                f"If {these} the same under other names: each alone has its shape on either side",
                " ".join(_option("--rename", f"{old}={new}") for old, new in pairs.items()),
                f"tg.graft(model, checkpoint, rename={pairs!r})",
            )
        )
    if parts := plan.undeclared_parts:
        shown = parts[:_MOST]
        rest = f" (and {plural(len(parts) - len(shown), 'more')[:-1]})" if len(parts) > len(shown) else ""
        heads = all(entry.role == "head" for entry in plan.undeclared)
        names = ["head"] if heads else list(shown)
        found.append(
            Remedy(
                f"If a new start is meant, declare it{'' if heads else rest}",
                " ".join(_option("--allow-fresh", name) for name in names),
                f"tg.graft(model, checkpoint, allow_fresh={names[0]!r})"
                if len(names) == 1
                else f"tg.graft(model, checkpoint, allow_fresh={names!r})",
            )
        )
    return found


def _pairs(plan: Plan) -> dict[str, str]:
    """Undeclared and unused tensors of a shape that one of each has."""
    wanted: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    given: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for target in plan.undeclared:
        wanted[target.shape].append(target.name)
    for source in plan.sources:
        if source.status == "unused":
            given[source.shape].append(source.name)
    pairs = {
        given[shape][0]: names[0]
        for shape, names in wanted.items()
        if shape and len(names) == len(given.get(shape, ())) == 1
    }
    return dict(list(pairs.items())[:_MOST])


def _option(option: str, value: str) -> str:
    return f"{option} {shlex.quote(value)}"
