"""An option's value that is one of a few words; a wrong one brings the word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import click

__all__ = ["Choice", "meant"]


class Choice(click.Choice[str]):
    """As click's."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click does."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            said = meant(str(value), self.choices)
            raise click.BadParameter(f"{error.message}{said}", ctx, param) from error


def meant(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'full'?`, or nothing where no known word is like it."""
    near = get_close_matches(word.lower(), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
