"""What numbers in names say about order: `blocks.2` is before `blocks.10`, `left` and `right` are unordered.

Modules under such names are a series-parallel order: siblings that differ by a number stand in series, those
that differ by a word in parallel. With nested series (and nested parallels) merged, the tree is the same for
`_blocks.3` and for `blocks.2.1`, however a library nests its blocks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torchgraft.matching.structure_modules import Module

__all__ = ["Order", "order_of"]

_NUMBERED = re.compile(r"(.*?)(\d*)", re.DOTALL)

_LETTERED = re.compile(r"(.*?)(\d+)([a-f])", re.DOTALL)
"""`Mixed_6b` comes before `Mixed_6c`, and both before `Mixed_7a`."""

_ORDINAL = re.compile(r"(.*?)(?<![a-z])(pre|before|first|post|after|second|third)(?![a-z])(.*)", re.DOTALL)
_ORDINALS = {"pre": 1, "before": 1, "first": 1, "post": 2, "after": 2, "second": 2, "third": 3}
_LETTERS = "abcdef"
"""A component of one of these letters is as good as a number. Not so `k`, `q` and `v`."""


@dataclass(frozen=True, slots=True)
class Order:
    """One node of the tree.

    Attributes:
        kind: `"one"` module, or parts in `"series"` or in `"parallel"`.
        parts: Its children; in number order for a series.
        modules: All modules under it.
    """

    kind: Literal["one", "series", "parallel"]
    parts: tuple[Order, ...]
    modules: tuple[Module, ...]

    @property
    def size(self) -> int:
        """How many modules are under it."""
        return len(self.modules)


def order_of(modules: Sequence[Module], depth: int = 0) -> Order:
    """The order that the numbers in these modules' names give."""
    if len(modules) == 1:
        return Order("one", (), tuple(modules))
    while len({_component(module, depth) for module in modules}) == 1:
        depth += 1
    words: dict[str, dict[int, list[Module]]] = defaultdict(lambda: defaultdict(list))
    for module in modules:
        word, number = _component(module, depth)
        words[word][number].append(module)
    chains = []
    for _, numbers in sorted(words.items()):
        parts = [order_of(numbers[number], depth + 1) for number in sorted(numbers)]
        chains.append(_join("series", parts))
    return _join("parallel", chains)


def _join(kind: Literal["series", "parallel"], parts: Sequence[Order]) -> Order:
    if len(parts) == 1:
        return parts[0]
    flat: list[Order] = []
    for part in parts:
        flat += part.parts if part.kind == kind else (part,)
    return Order(kind, tuple(flat), tuple(module for part in flat for module in part.modules))


def _component(module: Module, depth: int) -> tuple[str, int]:
    """The word and the number of one component: `("layer", 3)`; a number of -1 stands for none."""
    if depth >= len(module.path):
        return "..", -1  # the module that holds the others
    lettered = _LETTERED.fullmatch(module.path[depth])
    if lettered is not None:
        return lettered[1], 10 * int(lettered[2]) + _LETTERS.index(lettered[3])
    match = _NUMBERED.fullmatch(module.path[depth])
    assert match is not None  # the pattern matches any text
    word, digits = match.groups()
    if digits:
        return word, int(digits)
    if word and word in _LETTERS:
        return "", _LETTERS.index(word) + 1
    ordinal = _ORDINAL.fullmatch(word)
    if ordinal is not None:
        return f"{ordinal[1]}#{ordinal[3]}", _ORDINALS[ordinal[2]]
    # a name without a number is no neighbour of the numbered ones: `norm` may come before or after `norm1`
    return f"{word}.", -1
