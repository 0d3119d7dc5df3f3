"""Results as JSON that every parser takes: ASCII, no NaN, nothing but plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass

__all__ = ["json_text"]

_DEEPEST = 40


def json_text(data: Mapping[str, object]) -> str:
    """One document and a line's end."""
    return json.dumps(_plain(data, 0), indent=2, allow_nan=False) + "\n"


def _plain(value: object, depth: int) -> object:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray)):
        return [_plain(item, depth + 1) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        shown = {field.name: getattr(value, field.name) for field in fields(value) if field.repr}
        return _plain(shown, depth + 1)
    return str(value)
