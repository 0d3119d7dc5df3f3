"""What words in names say about which sibling is which: `q_lin` is `query`, `out` is `output`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from torchgraft.matching.structure_modules import Module

__all__ = [
    "Vocabulary",
    "apart",
    "by_words",
    "contradicts",
    "distinct_words",
    "likeness",
    "relative_names",
    "same_word",
    "words_of",
]

_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # no digits: some libraries count from one

_ABBREVIATED = {"attn": "attention", "sa": "attention"}
"""Abbreviations that are no prefix of the word they stand for."""

_LEAST = 0.5
"""Likeness from which two names may be the same sibling's, …"""

_MARGIN = 0.2
"""… if every other sibling is less like it by this much."""

_ENOUGH = 2
"""Pairs of siblings that are alike from which the one sibling that is left on both sides is a pair, too."""

_EQUAL = 0.95
"""Share of one name's words in the other from which the pair stands without partners for all siblings."""


class Vocabulary:
    """Which endings of names went together in the pairs that are settled."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()

    def learn(self, source: Module, target: Module) -> None:
        """Remember that these two are a pair."""
        for start in range(len(source.path)):
            for at in range(len(target.path)):
                self._seen[source.path[start:], target.path[at:]] += 1

    def pairs(
        self, ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]]
    ) -> list[tuple[int, int]]:
        """Which of `ours` went with exactly one of `theirs` before, and that one with no other of `ours`."""
        table = [[self._seen[one, other] for other in theirs] for one in ours]
        return [
            (i, j)
            for i, row in enumerate(table)
            for j, count in enumerate(row)
            if count and sum(map(bool, row)) == 1 and sum(bool(line[j]) for line in table) == 1
        ]


def relative_names(groups: Sequence[Sequence[Module]]) -> list[tuple[str, ...]]:
    """What tells groups of sibling modules apart: the part of a group's path below what all groups share."""
    return apart([[module.path for module in group] for group in groups])


def apart(groups: Sequence[Sequence[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """What tells groups of paths apart: the part that a group shares below what all groups share."""
    paths = [_common(group) for group in groups]
    above = len(_common(paths))
    return [path[above:] for path in paths]


def by_words(ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]]) -> list[tuple[int, int]]:
    """Pairs of names that are each other's most similar by a clear margin.

    Where words are equal a pair stands on its own, and one sibling left on both sides is a pair too. Where
    they are only alike (`k` and `key`), every sibling must have found its partner, or none has.
    """
    one, other = distinct_words(ours), distinct_words(theirs)
    table = _likenesses(ours, theirs)
    found = []
    for i, row in enumerate(table):
        if not row:
            continue
        best = max(row)
        j = row.index(best)
        rivals = [
            *(s for k, s in enumerate(row) if k != j),
            *(line[j] for k, line in enumerate(table) if k != i),
        ]
        if best >= _LEAST and all(best - rival >= _MARGIN for rival in rivals):
            found.append((i, j))
    if len(found) == len(ours) == len(theirs):
        return found
    sure = [(i, j) for i, j in found if theirs[j] == ours[i] or _holds(one[i], other[j])]
    if len(ours) == len(theirs) == len(found) + 1 and (sure or len(found) >= _ENOUGH):
        rest = set(range(len(ours))) - {i for i, _ in found}, set(range(len(theirs))) - {j for _, j in found}
        return [*found, (rest[0].pop(), rest[1].pop())]
    return sure


def likeness(
    ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]], i: int, j: int
) -> tuple[float, float]:
    """How alike two of these names are, 0 to 1, and the best that either of them reaches with another."""
    table = _likenesses(ours, theirs)
    rivals = [
        *(score for k, score in enumerate(table[i]) if k != j),
        *(row[j] for k, row in enumerate(table) if k != i),
    ]
    return table[i][j], max(rivals, default=0.0)


def _likenesses(ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]]) -> list[list[float]]:
    one, other = distinct_words(ours), distinct_words(theirs)
    return [
        [1.0 if name == candidate else _similar(a, b) for b, candidate in zip(other, theirs, strict=True)]
        for a, name in zip(one, ours, strict=True)
    ]


def contradicts(ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]]) -> bool:
    """Whether equal words pair these names in another order than the one they are in."""
    one, other = distinct_words(ours), distinct_words(theirs)
    if not any(one) or not any(other):
        return False  # only numbers tell them apart
    return any(
        i != j and a and a == b and one.count(a) == other.count(b) == 1
        for i, a in enumerate(one)
        for j, b in enumerate(other)
    )


_TELLING = 4
"""Letters from which an abbreviation is as good as the word: `dist` for `distillation`, not `k` for `key`."""


def _common(paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    first, *others = paths
    for other in others:
        size = next((k for k, (a, b) in enumerate(zip(first, other, strict=False)) if a != b), None)
        first = first[: min(len(first), len(other)) if size is None else size]
    return first


def distinct_words(names: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """The words of each name that not all of them have."""
    tokens = [[word for part in name for word in words_of(part)] for name in names]
    shared = set.intersection(*map(set, tokens)) if tokens else set()
    return [[token for token in of if token not in shared] for of in tokens]


def words_of(component: str) -> list[str]:
    """The words in one component of a name, in small letters and spelled out."""
    return [_word(token.lower()) for token in _TOKEN.findall(component)]


def same_word(one: str, other: str) -> bool:
    """Whether two words, as `words_of` gives them, are the same, or one is a telling abbreviation."""
    return _alike(one, other) >= _EQUAL


def _word(word: str) -> str:
    if len(word) == 2 and word[0] == "w" and word[1] in "qkvo":
        return word[1]  # a weight is what everything is
    return _ABBREVIATED.get(word, word)


def _similar(one: Sequence[str], other: Sequence[str]) -> float:
    """Likeness of two names, 0 to 1: words that the other one lacks count against it, on either side."""
    return (_contained(one, other) + _contained(other, one)) / 2


def _holds(one: Sequence[str], other: Sequence[str]) -> bool:
    return max(_contained(one, other), _contained(other, one)) >= _EQUAL


def _contained(one: Sequence[str], other: Sequence[str]) -> float:
    """Mean likeness of the words of one name to the nearest ones of the other, 0 to 1."""
    if not one or not other:
        return 0.0
    return sum(max(_alike(word, candidate) for candidate in other) for word in one) / len(one)


def _alike(one: str, other: str) -> float:
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if long.startswith(short):
        return 0.8 if len(short) < _TELLING else _EQUAL
    same = next(k for k, (a, b) in enumerate(zip(short + " ", long + " ", strict=False)) if a != b)
    if same >= 3:
        return 0.6
    return 0.5 if len(short) >= 4 and short in long else 0.0
