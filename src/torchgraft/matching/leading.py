"""Which of several copies of a network is meant, where a checkpoint holds more than one: a stated policy.

Training keeps copies beside the network it trains. Published evaluations use DINO's teacher, MoCo's query
encoder, BYOL's online network; of a running average (EMA) and the network it follows, the network is taken,
as elsewhere in this library. The choice is always noted, with what would take the other copy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["chosen", "leading"]

_FOLLOWS = {"ema", "averaged", "swa", "shadow", "momentum", "student", "target", "k", "key"}
"""Words of the copy that is not taken. A student follows no one, but its teacher is what is evaluated."""

_WORD = re.compile(r"[a-z]+")


def leading(prefixes: Sequence[str]) -> int | None:
    """The index of the prefix that is taken; `None` where the policy says nothing."""
    words = [set(_WORD.findall(prefix.lower())) for prefix in prefixes]
    shared = set.intersection(*words)
    follows = [bool((of - shared) & _FOLLOWS) for of in words]
    return follows.index(False) if follows.count(False) == 1 else None


def chosen(prefixes: Sequence[str], index: int) -> str:
    """What is said of the choice."""
    others = ", ".join(repr(prefix) for place, prefix in enumerate(prefixes) if place != index)
    taken = repr(prefixes[index]) if prefixes[index] else "the network at the top"
    return f"{taken} is taken and {others} is not, by what such copies are usually called"
