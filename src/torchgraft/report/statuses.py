"""How a tensor's fate looks: one word, one symbol and one colour each, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.report.quantities import plural
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.planning import Plan, SourceEntry, TargetEntry

__all__ = ["STATUSES", "Status", "gate_advice", "status_of"]


@dataclass(frozen=True, slots=True)
class Status:
    """One status.

    Attributes:
        key: Its name in the page's style sheet.
        word: What it is called.
        symbol: What tells it apart where there is no colour.
        style: Its style on a terminal.
        fill: What its share of a bar is drawn with on a terminal.
        meaning: What it means, for a legend.
    """

    key: str
    word: str
    symbol: str
    style: str
    fill: str
    meaning: str


STATUSES: dict[str, Status] = {
    status.key: status
    for status in (
        Status("loaded", "loaded", "✓", "green", "█", "as it is in the checkpoint"),
        Status("adapted", "adapted", "≈", "yellow", "▓", "from the checkpoint, changed to fit"),
        Status("fresh", "fresh", "○", "cyan", "▒", "new, and declared so"),
        Status("undeclared", "fresh", "✗", "bold red", "░", "new, and nobody said that it may be"),
        Status("unused", "unused", "–", "magenta", " ", "in the checkpoint, not needed"),
        Status("used", "used", "✓", "green", " ", "in the checkpoint, needed"),
    )
}


def status_of(entry: TargetEntry | SourceEntry) -> Status:
    """The status as it is shown: undeclared fresh tensors have one of their own."""
    if entry.status == "fresh" and not entry.declared:
        return STATUSES["undeclared"]
    return STATUSES[entry.status]


def gate_advice(plan: Plan) -> tuple[str, str | None]:
    """The gate's verdict on a plan in one sentence, and what to do next when it is closed."""
    n = len(plan.undeclared)
    if not n:
        return "The gate is open: the plan can be applied.", None
    verdict = (
        f"The gate is closed: {plural(n, 'tensor')} would keep {'its' if n == 1 else 'their'} "
        "random start, and nobody declared that."
    )
    if all(entry.status == "fresh" for entry in plan.targets):
        return verdict, "Nothing matched. See what the file holds: torchgraft inspect FILE"
    if all(entry.role == "head" for entry in plan.undeclared):
        return verdict, 'If a new head is meant: allow_fresh="head" (command line: --allow-fresh head)'
    return verdict, (
        "Where names differ, pair them: --rename OLD=NEW; where a new start is meant, declare it: "
        + _declaration(plan.undeclared_parts)
    )


def _declaration(parts: tuple[str, ...]) -> str:
    shown = " ".join(f"--allow-fresh {clean(part)}" for part in parts[:3])
    return shown + (" …" if len(parts) > 3 else "")
