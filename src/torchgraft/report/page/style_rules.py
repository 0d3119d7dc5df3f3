"""Positions and sizes as rules of the page's one style sheet: its policy allows no style attributes."""

from __future__ import annotations

import math

__all__ = ["StyleRules"]


class StyleRules:
    """Collects declarations while templates are rendered; each has a class of its own.

    In a template `class="bar {{ place(width=12.5) }}"`: numbers are percentages, names are `left`, `width`,
    `height`, or whatever else is made a custom property: `share` becomes `--share`.
    """

    _PLAIN = frozenset({"left", "width", "height"})

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def place(self, **percentages: float) -> str:
        """The class that stands for these declarations."""
        text = ";".join(self._declaration(name, value) for name, value in percentages.items())
        return self._names.setdefault(text, f"p{len(self._names)}")

    @property
    def text(self) -> str:
        """The rules."""
        return "\n".join(f".{name}{{{text}}}" for text, name in self._names.items())

    def _declaration(self, name: str, value: float) -> str:
        number = float(value)
        assert math.isfinite(number), f"{name} is {number}"
        assert name.isidentifier()
        return f"{name if name in self._PLAIN else f'--{name}'}:{round(number, 2):g}%"
