"""Which of a model's named outputs give classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["class_outputs", "names_classes"]

_NAMES = (
    "logits", "cls_logits", "distillation_logits", "class_queries_logits", "enc_outputs_class",
    "start_logits", "end_logits",
)  # fmt: skip
"""Transformers' names. Beside them it returns boxes, masks, hidden states and caches, of other sizes."""


def class_outputs(outputs: object) -> object:
    """The outputs that give classes, where they have names that say so; else all."""
    if not isinstance(outputs, Mapping):
        return outputs
    return {name: outputs[name] for name in _NAMES if outputs.get(name) is not None} or outputs


def names_classes(names: Collection[object]) -> bool:
    """Whether one of these outputs is called as those that give classes are."""
    return any(name in names for name in _NAMES)
