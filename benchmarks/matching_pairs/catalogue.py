"""Which pairs there are."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from matching_pairs.pairs import REGISTRY, Pair

HELD_OUT = "held out"
TUNED = ("convnets", "transformers_", "wrappers", "partial", "layouts", "keras_", "real", "traps")


def choose(words: Sequence[str], *, heldout: bool) -> list[Pair]:
    """The pairs whose name or family contains one of `words`, or all; either tuned-on or held-out."""
    for module in ("heldout",) if heldout else TUNED:
        import_module(f"matching_pairs.{module}")
    return [
        pair
        for pair in REGISTRY.values()
        if (pair.family == HELD_OUT) == heldout
        and (not words or any(word in pair.name or word in pair.family for word in words))
    ]
