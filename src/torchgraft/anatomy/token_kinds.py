"""What tokens beside the patches are for, by what their parameters are called."""

from __future__ import annotations

__all__ = ["kind_of_token"]

_KINDS = {
    "dist": "distillation",
    "cls": "class",
    "class": "class",
    "reg": "register",
    "storage": "register",
    "detection": "detection",
    "mask": "mask",
}


def kind_of_token(name: str) -> str:
    """Such as `"class"` for `"cls_token"`; the last part of the name for what is unknown."""
    last = name.rpartition(".")[2]
    return next((kind for word, kind in _KINDS.items() if word in last), last)
