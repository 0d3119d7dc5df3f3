"""A pickle's memo: what was put aside to be used again. What runs of tensors put there is made when it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Memo", "Puts"]

Puts: TypeAlias = Callable[[dict[int, object]], None]
"""Puts aside what a part of the pickle would have, had it been carried out opcode by opcode."""

_SHORT = 256


class Memo(dict[int, object]):
    """The newest entries, in front of those from before the latest run of tensors.

    Attributes:
        hidden: How many entries are not in the dict itself. They count where the next entry gets the next
            number (MEMOIZE); `None` where that is not known.
        mixed: Entries were put under given numbers and under the next ones: no writer does that.
    """

    __slots__ = ("_below", "_pending", "hidden", "mixed")

    def __init__(self) -> None:
        super().__init__()
        self.hidden: int | None = 0
        self.mixed = False
        self._below: dict[int, object] = {}
        self._pending: deque[dict[int, object] | Puts] = deque()

    def numbered_on(self, puts: Puts, count: int) -> Memo:
        """After a run that put aside `count` entries under the next numbers."""
        assert self.hidden is not None
        self.hidden += count
        self._pending.append(puts)
        return self

    def covered(self, puts: Puts, numbers: set[int]) -> Memo:
        """After a run that put aside entries under any numbers but those below 256 and these."""
        memo = Memo()
        memo.hidden = None
        memo._below, memo._pending = self._below, self._pending
        memo._pending += (self, puts)
        for number in (*range(min(_SHORT, len(self))), *numbers):
            if number in self:
                memo[number] = self[number]
        return memo

    def next_number(self) -> int:
        """How many entries there are, all of which are in the dict itself from now on."""
        self._settle()
        for number, value in self._below.items():
            self.setdefault(number, value)
        self._below, self.hidden, self.mixed = {}, 0, True
        return len(self)

    def __missing__(self, number: int) -> object:
        self._settle()
        return self._below[number]

    def _settle(self) -> None:
        while self._pending:
            layer = self._pending.popleft()
            if isinstance(layer, dict):
                self._below.update(layer)
            else:
                layer(self._below)
