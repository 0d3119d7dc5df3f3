"""Numbered siblings as one line: `blocks.0.weight` … `blocks.15.weight` → `blocks.{0...15}.weight`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

__all__ = [
    "brace",
    "collapse",
    "grouped",
    "ranged",
    "ranged_shapes",
    "sibling_key",
    "sibling_keys",
    "skeleton",
    "split_leaf",
]

_NUMBER = re.compile(
    r"[0-9](?<!\d[0-9])"  # its first digit: what begins with a set of letters is found fast
    r"(?:(?<=0)|(?<!0)\d{0,8})(?!\d)"
)
_BETWEEN = str.maketrans({chr(code): " " for code in range(128) if not chr(code).isdigit()})
_ALL_ONES = str.maketrans("23456789", "11111111")
_MOST_RUNS = 6

T = TypeVar("T")


def collapse(rows: Sequence[T], key: Callable[[T], Hashable]) -> list[tuple[T, ...]]:
    """Rows of equal key together, in the order in which the keys first appear."""
    return grouped(rows, map(key, rows))


def grouped(rows: Iterable[T], keys: Iterable[Hashable]) -> list[tuple[T, ...]]:
    """The same with the rows' keys themselves."""
    groups: defaultdict[Hashable, list[T]] = defaultdict(list)
    for key, row in zip(keys, rows, strict=True):
        groups[key].append(row)
    return list(map(tuple, groups.values()))


@lru_cache(maxsize=1024)
def skeleton(text: str) -> str:
    """The text with `#` for each number. Names that share it can be shown as one range."""
    return _NUMBER.sub("#", text)


def ranged(texts: Sequence[str]) -> str:
    """One text for several of the same skeleton, with the numbers that differ as `{0...15}`.

    With several numbers the braces are each one's values; not every combination need exist.
    """
    if len(set(texts)) == 1:
        return texts[0]
    numbers = _numbers(texts)
    columns = iter([brace(sorted(set(map(int, column)))) for column in numbers])
    return _NUMBER.sub(lambda _: next(columns), texts[0])


def _numbers(texts: Sequence[str]) -> list[list[str]]:
    """For each number in such texts, what it is in each: of all in one go, as there may be 100,000."""
    text = "\n".join(texts)
    first = texts[0].translate(_BETWEEN).split()
    found = text.translate(_BETWEEN).split() if text.isascii() and "#" not in text else []
    if len(found) == len(first) * len(texts):
        return [found[at :: len(first)] for at, number in enumerate(first) if _NUMBER.fullmatch(number)]
    found, each = _NUMBER.findall(text), len(_NUMBER.findall(texts[0]))
    return [found[at::each] for at in range(each)]


def brace(numbers: Sequence[int]) -> str:
    """Ascending whole numbers, with runs of three and more shortened: `{0...6,8,9}`."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{{{numbers[0]}...{numbers[-1]}}}"
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    parts = [
        part
        for run in runs
        for part in ([f"{run[0]}...{run[-1]}"] if len(run) > 2 else [str(n) for n in run])
    ]
    if len(numbers) == 1:
        return parts[0]
    if len(parts) > _MOST_RUNS:
        parts = [*parts[: _MOST_RUNS - 2], "…", parts[-1]]
    return "{" + ",".join(parts) + "}"


def split_leaf(name: str) -> tuple[str, str]:
    """A key's module (with its last dot) and the tensor's own name: `("layer1.0.bn1.", "weight")`."""
    module, dot, leaf = name.rpartition(".")
    return module + dot, leaf


def ranged_shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    """Shapes of any ranks: `[16…960, 1, 3, 3]`; one bracket a rank, three at most."""
    by_rank = collapse(list(dict.fromkeys(shapes)), len)
    shown = [f"[{', '.join(map(_span, zip(*group, strict=True)))}]" for group in by_rank[:3]]
    return " ".join(shown + ["…"] * (len(by_rank) > 3))


def _span(sizes: tuple[int, ...]) -> str:
    return str(sizes[0]) if min(sizes) == max(sizes) else f"{min(sizes)}…{max(sizes)}"


def sibling_key(name: str) -> str:
    """What numbered siblings have in common. `conv1` and `conv2` of one block are no siblings,
    `block1.conv1` and `block2.conv1` are, and so are `features.0` and `features.2`."""
    path, dot, leaf = name.rpartition(".")
    above, _, module = path.rpartition(".")
    return f"{skeleton(above)}.{'#' if module.isdigit() else module}{dot}{leaf}"


def sibling_keys(names: Sequence[str]) -> Sequence[str]:
    """`sibling_key` of each name, of 100,000 in one go.

    With a one for each digit but zero, few names remain, and numbers are still told from what is none.
    """
    alike = "\n".join(names).translate(_ALL_ONES).split("\n")
    if len(alike) != len(names):
        return list(map(sibling_key, names))
    keys = {text: sibling_key(text) for text in set(alike)}
    if any("0" in key or "1" in key for key in keys.values()):  # a digit that tells names apart
        keys = {text: "" if "0" in key or "1" in key else key for text, key in keys.items()}
        return [keys[text] or sibling_key(name) for text, name in zip(alike, names, strict=True)]
    return list(map(keys.__getitem__, alike))
