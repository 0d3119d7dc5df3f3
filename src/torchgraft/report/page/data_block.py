"""Data for the page's script: JSON that can end neither its element nor a string early."""

from __future__ import annotations

import json
import math

from markupsafe import Markup

from torchgraft.report.safe_text import clean

__all__ = ["data_block"]

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def data_block(data: object) -> Markup:
    """JSON to stand in a `<script type="application/json">`.

    Strings are cleaned as in `safe_text`, but whole; numbers that aren't finite become `null`.
    """
    text = json.dumps(_harmless(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_ESCAPES))  # noqa: S704 (no character is left that HTML gives a meaning)


def _harmless(value: object) -> object:
    if isinstance(value, str):
        return value if _plain(value) else clean(value, limit=len(value) + 1)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(_harmless(str(key))): _harmless(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        if kinds <= {int} or (kinds <= {int, str} and _plain("".join(filter(_is_text, value)))):
            return value  # there may be 100,000
        return [_harmless(item) for item in value]
    return value


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _is_text(value: object) -> bool:
    return isinstance(value, str)
