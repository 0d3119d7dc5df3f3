"""How new input channels get their weights: the named modes, or a map spelled out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from torchgraft.errors import AdaptError

__all__ = ["InMode", "NamedInMode", "normal_in_mode", "parse_in_mode"]

NamedInMode: TypeAlias = Literal["repeat", "mean", "sum", "zeros"]

InMode: TypeAlias = NamedInMode | Sequence[int | str]
"""A named mode (see `InputChannels`), or per new channel a source channel's index, `"mean"`, `"zeros"`."""

_NAMES = get_args(NamedInMode)
_HINT = f'use one of {", ".join(_NAMES)}, or one entry a new channel such as "0,1,2,mean"'


def parse_in_mode(text: str) -> InMode:
    """The mode that a command line spells, such as `"repeat"` or `"0,1,2,mean"`.

    Raises:
        AdaptError: It is neither a mode's name nor a list of indices, `mean` and `zeros`.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) == 1 and words[0] in _NAMES:
        return normal_in_mode(words[0])
    return normal_in_mode([int(word) if word.isdecimal() else word for word in words])


def normal_in_mode(mode: object) -> NamedInMode | tuple[int | str, ...]:
    """The mode with its map as a tuple.

    Raises:
        AdaptError: It is not an `InMode`.
    """
    for name in get_args(NamedInMode):
        if mode == name:
            return name  # type: ignore[no-any-return]  # get_args is untyped
    if isinstance(mode, str) or not isinstance(mode, Sequence) or not mode:
        raise AdaptError(f"there is no input-channel mode {mode!r}", hint=_HINT)
    for entry in mode:
        whole = isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0
        if not whole and entry not in ("mean", "zeros"):
            raise AdaptError(f"an input-channel map can't hold {entry!r}", hint=_HINT)
    return tuple(mode)
