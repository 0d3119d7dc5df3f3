"""How new input channels get their weights: the named modes, or a map spelled out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from torchgraft.errors import AdaptError

__all__ = ["ChannelMap", "Entry", "InMode", "NamedInMode", "normal_in_mode", "parse_in_mode"]

NamedInMode: TypeAlias = Literal["repeat", "mean", "sum", "zeros", "keep-scale"]

_Given: TypeAlias = int | str | Sequence[float] | Mapping[str, float]

InMode: TypeAlias = NamedInMode | Sequence[_Given] | Mapping[str, _Given]
"""A named mode (see `InputChannels`), or what each new channel is: a source channel's index, `"mean"`,
`"zeros"`, or a mix, as one factor for each source channel. A mapping gives the channels names, in order:
`{"R": 0, "G": 1, "B": 2, "NIR": "mean", "grey": {"R": 0.3, "G": 0.6, "B": 0.1}}`."""

Entry: TypeAlias = int | str | tuple[float, ...]
ChannelMap: TypeAlias = tuple[Entry, ...]

_NAMES = get_args(NamedInMode)
_HINT = (
    f'use one of {", ".join(_NAMES)}, or one entry a new channel such as "0,1,2,mean" '
    'or {"R": 0, "G": 1, "B": 2, "NIR": "mean"}'
)


def parse_in_mode(text: str) -> InMode:
    """The mode that a command line spells, such as `"repeat"`, `"0,1,2,mean"` or `"R=0,G=1,B=2,NIR=mean"`.

    Raises:
        AdaptError: It is neither a mode's name nor a list of indices, `mean` and `zeros`.
    """
    words = [word.strip().rpartition("=")[2] for word in text.split(",")]
    if len(words) == 1 and words[0] in _NAMES:
        return normal_in_mode(words[0])
    return normal_in_mode([int(word) if word.isdecimal() else word for word in words])


def normal_in_mode(mode: object) -> NamedInMode | ChannelMap:
    """The mode with its map as a tuple.

    Raises:
        AdaptError: It is not an `InMode`.
    """
    for name in get_args(NamedInMode):
        if mode == name:
            return name  # type: ignore[no-any-return]  # get_args is untyped
    if isinstance(mode, Mapping):
        named = {str(name): entry for name, entry in mode.items() if _is_index(entry)}
        entries: Sequence[object] = [_mixed(entry, named) for entry in mode.values()]
    elif isinstance(mode, Sequence) and not isinstance(mode, str):
        entries = mode
    else:
        raise AdaptError(f"there is no input-channel mode {mode!r}", hint=_HINT)
    if not entries:
        raise AdaptError(f"there is no input-channel mode {mode!r}", hint=_HINT)
    return tuple(map(_entry, entries))


def _entry(entry: object) -> Entry:
    if _is_index(entry) or entry in ("mean", "zeros"):
        return entry  # type: ignore[return-value]  # one of these
    if isinstance(entry, Sequence) and not isinstance(entry, str) and entry:
        factors = tuple(float(factor) for factor in entry if isinstance(factor, (int, float)))
        if len(factors) == len(entry) and all(map(math.isfinite, factors)):
            return factors
    raise AdaptError(f"an input-channel map can't hold {entry!r}", hint=_HINT)


def _mixed(entry: object, named: Mapping[str, object]) -> object:
    """A mix by the names of channels that are the source's, as factors in the source's order."""
    if not isinstance(entry, Mapping):
        return entry
    unknown = [name for name in entry if name not in named]
    if unknown or not entry:
        raise AdaptError(
            f"an input-channel map mixes {unknown[0] if unknown else 'nothing'!r}, no source channel of it",
            hint=f"those it names: {', '.join(named) or 'none'}",
        )
    factors = [0.0] * (1 + max(int(index) for index in named.values()))  # type: ignore[call-overload]  # indices
    for name, factor in entry.items():
        factors[int(named[name])] += float(factor)  # type: ignore[call-overload]  # likewise
    return factors


def _is_index(entry: object) -> bool:
    return isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0
