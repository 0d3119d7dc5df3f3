"""The section with facts: where things came from, which versions, when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["FactsSection"]


@dataclass(frozen=True, slots=True)
class FactsSection:
    """Labels and values, one a line: file, SHA-256, versions, times, seeds."""

    facts: tuple[tuple[str, str], ...]
    title: str = "Provenance"
    text: str = ""
    template: ClassVar[str] = "facts.html"

    def view(self) -> Mapping[str, object]:
        """The facts as they are."""
        return {"text": self.text, "facts": self.facts}
