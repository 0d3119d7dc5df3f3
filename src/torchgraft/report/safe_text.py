"""Text from files, made safe to show: nothing in a name may steer a terminal or hide in a page."""

from __future__ import annotations

import unicodedata

__all__ = ["clean"]

_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # they belong to the spelling of Persian and Indic words


def clean(text: object, *, limit: int = 240) -> str:
    """Spell out control, formatting and private characters, and cut the middle out of endless names.

    Escape codes, carriage returns, text-direction overrides and lone surrogates come out as `\\x1b`,
    `\\r`, `\\u202e`, … Markup of rich or HTML stays as it is: the one is shown as a `Text` object,
    the other is escaped by the page's templates.
    """
    text = str(text)
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(char: str) -> str:
    if unicodedata.category(char) in _ESCAPED_CATEGORIES and char not in _JOINERS:
        return char.encode("unicode_escape").decode("ascii")
    return char
