"""The YAML at the top of a model card, as the hub reads it (huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

__all__ = ["front_matter"]


def front_matter(data: Mapping[str, object]) -> str:
    """The block with its fences; texts are quoted where YAML could take them for something else."""
    return "---\n" + "".join(_entry(key, value, "") for key, value in data.items()) + "---\n"


def _entry(key: str, value: object, indent: str) -> str:
    name = _scalar(key)
    if isinstance(value, Mapping):
        return f"{indent}{name}:\n" + "".join(_entry(str(k), v, indent + "  ") for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{indent}{name}:\n" + "".join(_item(item, indent) for item in value)
    return f"{indent}{name}: {_scalar(value)}\n"


def _item(value: object, indent: str) -> str:
    if not isinstance(value, Mapping):
        return f"{indent}- {_scalar(value)}\n"
    lines = "".join(_entry(str(key), inner, indent + "  ") for key, inner in value.items())
    return f"{indent}- {lines[len(indent) + 2 :]}"


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _scalar(value: object) -> str:
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)  # JSON's strings are YAML's, but for what can't be printed
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    digits, e, exponent = repr(value).partition("e")
    return f"{digits}.0e{exponent}" if e and "." not in digits else repr(value)  # YAML 1.1 wants the point
