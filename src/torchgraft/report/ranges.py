"""Numbered siblings as one line: `blocks.0.weight` … `blocks.15.weight` → `blocks.{0...15}.weight`."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import TypeVar

__all__ = ["brace", "collapse", "ranged", "ranged_shapes", "sibling_key", "skeleton", "split_leaf"]

_NUMBER = re.compile(r"(?<!\d)(?:0|[1-9]\d{0,8})(?!\d)")
_MOST_RUNS = 6

T = TypeVar("T")


def collapse(rows: Sequence[T], key: Callable[[T], Hashable]) -> list[tuple[T, ...]]:
    """Rows of equal key together, in the order in which the keys first appear."""
    groups: dict[Hashable, list[T]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [tuple(group) for group in groups.values()]


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
    each = len(_NUMBER.findall(texts[0]))
    numbers = _NUMBER.findall("\n".join(texts))  # of all in one go: there may be 100,000
    columns = iter([brace(sorted({int(n): None for n in numbers[place::each]})) for place in range(each)])
    return _NUMBER.sub(lambda _: next(columns), texts[0])


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
    by_rank = collapse(shapes, len)
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
