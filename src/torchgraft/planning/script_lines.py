"""Numbered siblings as one line of a script: names with `{i}` in them, and the numbers that `i` takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torchgraft.planning.script_moves import Move

__all__ = ["VARIABLES", "Line", "lines_of"]

VARIABLES = ("i", "j", "k", "m", "n", "p", "q", "r")
"""Names of loop variables, outermost first."""

_NUMBER = re.compile(r"(?<!\d)(?:0|[1-9]\d{0,8})(?!\d)")

_Column = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Moves that differ in numbers only.

    Attributes:
        target: The model's name, as the inside of an f-string.
        sources: The checkpoint's names, likewise.
        pattern: As in `Move`.
        rows: The values of the loop variables, sorted; one empty row for a line that stands alone.
    """

    target: str
    sources: tuple[str, ...]
    pattern: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]


def lines_of(moves: Sequence[Move]) -> list[Line]:
    """All moves, siblings together, in the order in which they first appear."""
    groups: dict[object, list[Move]] = {}
    for move in moves:
        names = (_pieces(move.target, whole=False)[0], *(_pieces(s)[0] for s in move.sources))
        groups.setdefault((names, move.pattern), []).append(move)
    return [line for group in groups.values() for line in _lines(group)]


def _lines(group: Sequence[Move]) -> list[Line]:
    if len(group) == 1:
        return [_alone(group[0])]
    texts = [_pieces(group[0].target, whole=False)[0], *(_pieces(s)[0] for s in group[0].sources)]
    numbers = [
        [*_pieces(m.target, whole=False)[1], *(n for s in m.sources for n in _pieces(s)[1])] for m in group
    ]
    columns: list[_Column] = list(zip(*numbers, strict=True))
    independent: list[_Column] = []
    spelled = [_spelled(column, independent) for column in columns]
    if len(independent) > len(VARIABLES):
        return [_alone(move) for move in group]
    rest = iter(spelled)
    names = ["".join(piece + next(rest) for piece in text[:-1]) + text[-1] for text in texts]
    rows = tuple(sorted(zip(*independent, strict=True)))
    return [Line(names[0], tuple(names[1:]), group[0].pattern, rows)]


def _alone(move: Move) -> Line:
    return Line(_literal(move.target), tuple(map(_literal, move.sources)), move.pattern, ((),))


def _pieces(name: str, *, whole: bool = True) -> tuple[tuple[str, ...], list[int]]:
    """What is around the numbers of a name, and the numbers.

    Unless `whole`, `conv1` and `conv2` of one block stay what they are: no loop runs over such layers.
    """
    end = len(name)
    if not whole:
        path, dot, _ = name.rpartition(".")
        above, inner, module = path.rpartition(".")
        end = len(path if module.isdigit() else above + inner) if dot else 0
    found = [match for match in _NUMBER.finditer(name) if match.end() <= end]
    starts = [0, *(match.end() for match in found)]
    ends = [*(match.start() for match in found), len(name)]
    texts = tuple(_literal(name[a:b]) for a, b in zip(starts, ends, strict=True))
    return texts, [int(match[0]) for match in found]


def _spelled(column: _Column, independent: list[_Column]) -> str:
    """A column of numbers as a literal or by a loop variable; it becomes one itself if it must."""
    if len(set(column)) == 1:
        return str(column[0])
    for variable, other in zip(VARIABLES, independent, strict=False):
        steps = _slope(other, column)
        if steps is not None:
            start = column[0] - steps * other[0]
            times = variable if steps == 1 else f"{steps} * {variable}"
            sign = "-" if start < 0 else "+"
            return "{" + times + (f" {sign} {abs(start)}" if start else "") + "}"
    independent.append(column)
    return "{" + VARIABLES[min(len(independent), len(VARIABLES)) - 1] + "}"


def _slope(one: _Column, other: _Column) -> int | None:
    """The whole number by which `other` grows where `one` grows by 1, if it does so throughout."""
    if all(b - a == other[0] - one[0] for a, b in zip(one, other, strict=True)):
        return 1
    by = dict(zip(one, other, strict=True))
    if len(by) < 3:
        return None  # a line goes through any two points
    (a, b), (c, d) = list(by.items())[:2]
    steps, rest = divmod(d - b, c - a)
    if rest or steps < 1 or any(y - b != steps * (x - a) for x, y in zip(one, other, strict=True)):
        return None
    return steps


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
