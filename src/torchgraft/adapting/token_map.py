"""Which row of an old vocabulary's table holds the token of which row of a new one's."""

from __future__ import annotations

from collections.abc import Sequence

from torchgraft.adapting.row_map import RowMap
from torchgraft.errors import AdaptError

__all__ = ["match_tokens"]


def match_tokens(source: Sequence[str | None], target: Sequence[str | None]) -> RowMap:
    """Pair tokens that are spelled alike, to the letter: `"the"`, `"##the"` and `"Ġthe"` are three tokens.

    Args:
        source: The old vocabulary, in the order of its rows; `None` for rows of no token, which stand for
            nothing.
        target: The new one's.

    Raises:
        AdaptError: A token that both have is in one of them twice, or they share none.
    """
    if tuple(source) == tuple(target):
        return RowMap(tuple(range(len(source))), len(source))
    old, twice = _places(source)
    new, again = _places(target)
    doubtful = sorted((twice & new.keys()) | (again & old.keys()))
    if doubtful:
        raise AdaptError(
            f"{doubtful[0]!r} is in a vocabulary twice",
            hint="leave one of them out: None in a list stands for a row of no token",
        )
    rows = tuple(None if token is None else old.get(token) for token in target)
    found = RowMap(rows, len(source))
    if not found.carried:
        raise AdaptError(
            f"none of the {len(new):,} tokens is among the source's {len(old):,}",
            hint="were they spelled by tokenizers of different kinds, such as WordPiece and BPE?",
        )
    return found


def _places(tokens: Sequence[str | None]) -> tuple[dict[str, int], set[str]]:
    places: dict[str, int] = {}
    twice: set[str] = set()
    for row, token in enumerate(tokens):
        if token is None:
            continue
        if token in places:
            twice.add(token)
        places.setdefault(token, row)
    return places, twice
