"""The section that says how a run stands: its state, how far it is, what went wrong, what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.quantities import plural

__all__ = ["StateSection"]

_WORDS = {
    "running": ("●", "running"),
    "finished": ("✓", "finished"),
    "interrupted": ("‖", "interrupted"),
    "failed": ("✗", "failed"),
    "unknown": ("?", "state unknown"),
}


@dataclass(frozen=True, slots=True)
class StateSection:
    """How a run stands.

    Attributes:
        status: `running`, `finished`, `interrupted` or `failed`.
        done: Epochs that are done.
        epochs: Epochs that there will be at most, if that is known.
        details: Lines below it: when it began, how long it takes yet.
        error: What stopped it.
        commands: What to type next: what it does, and the command.
        revision: Of what this page was made, for a page that asks whether there is news.
        live: Whether the page is one that asks.
        far: How far it is, in words; by default in epochs.
    """

    status: str
    done: int = 0
    epochs: int | None = None
    details: tuple[str, ...] = ()
    error: str = ""
    commands: tuple[tuple[str, str], ...] = ()
    revision: str = ""
    live: bool = False
    far: str = ""
    title: str = "How it stands"
    text: str = ""
    template: ClassVar[str] = "state.html"
    styles: ClassVar[tuple[str, ...]] = ("state.css",)

    @property
    def scripts(self) -> tuple[str, ...]:
        """On a live page what asks for news, and all that a section may need which isn't there yet."""
        return ("live.js", "curves.js", "sortable.js", "mistakes.js") if self.live else ()

    def view(self) -> Mapping[str, object]:
        """The state's sign and word, and the bar's length."""
        status = self.status if self.status in _WORDS else "unknown"
        sign, word = _WORDS[status]
        known = self.epochs is not None and self.epochs > 0
        epochs = (
            f"epoch {self.done} of {self.epochs}"
            if known
            else plural(self.done, "epoch")
            if self.done
            else ""
        )
        return {
            "text": self.text,
            "status": status,
            "sign": sign,
            "word": word,
            "far": self.far or epochs,
            "bar": round(100 * min(self.done / self.epochs, 1.0), 1) if self.epochs else None,
            "details": self.details,
            "error": self.error.split("\n") if self.error else [],
            "commands": self.commands,
            "revision": self.revision,
        }
