"""How a user says what the images of a model are to be normalised by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torchgraft.errors import AdaptError
from torchgraft.model_info import Preprocessing

__all__ = ["Normalisation", "Statistics", "WantedNormalisation"]

Statistics: TypeAlias = (
    Literal["0..1", "0..255", "-1..1", "imagenet"] | tuple[float | Sequence[float], float | Sequence[float]]
)
"""Mean and standard deviation of values from 0 to 1, a number or one a channel; or the name of usual ones."""

Normalisation: TypeAlias = Statistics | Mapping[str, Any]
"""What is wanted, or `{"from": what it takes now, "to": what is wanted}`."""

_NAMED: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0..1": ((0.0,), (1.0,)),
    "0..255": ((0.0,), (1 / 255,)),
    "-1..1": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_HINT = f"use one of {', '.join(_NAMED)}, or (mean, std), each a number or one for each channel"


@dataclass(frozen=True, slots=True)
class WantedNormalisation:
    """The argument `normalisation`, read.

    Attributes:
        mean, std: What images are normalised by now.
        new_mean, new_std: What they are to be normalised by.
        into: Where each stem's shift goes, if that is known: a batch norm's path, `"bias"` or `"none"`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    new_mean: tuple[float, ...]
    new_std: tuple[float, ...]
    into: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, wanted: object, known: Preprocessing | None, channels: int) -> WantedNormalisation:
        """Read the argument.

        Args:
            wanted: As the user gives it, or as a surgery step has it.
            known: What the model takes now, as far as it is known.
            channels: Of the input.

        Raises:
            AdaptError: It is none, is not known, or has other channels.
        """
        into = None
        now: object = (known.mean, known.std) if known is not None else None
        if isinstance(wanted, Mapping):
            if not {"to"} <= set(wanted) <= {"from", "to", "into"}:
                raise AdaptError(f"normalisation can't be {dict(wanted)!r}", hint=_HINT)
            into = tuple(map(str, wanted["into"])) if wanted.get("into") is not None else None
            now, wanted = wanted.get("from", now), wanted["to"]
        if now is None:
            raise AdaptError(
                "it is not known how the model's images are normalised",
                hint='say so: normalisation={"from": "imagenet", "to": "0..1"}, or '
                "torchgraft.describe(model, preprocessing=…)",
            )
        return cls(*_read(now, channels), *_read(wanted, channels), into)

    @property
    def scale(self) -> list[float]:
        """What each channel's weights are multiplied by."""
        return [new / old for old, new in zip(self.std, self.new_std, strict=True)]

    @property
    def shift(self) -> list[float]:
        """What each channel's input was greater by, where the new input is 0."""
        means = zip(self.mean, self.new_mean, self.std, strict=True)
        return [(new - old) / std for old, new, std in means]

    def to_json(self, into: Sequence[str]) -> dict[str, Any]:
        """The argument with everything said."""
        return {
            "from": [list(self.mean), list(self.std)],
            "to": [list(self.new_mean), list(self.new_std)],
            "into": list(into),
        }


def _read(statistics: object, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if isinstance(statistics, str) and statistics in _NAMED:
        mean, std = _NAMED[statistics]
    elif isinstance(statistics, Sequence) and not isinstance(statistics, str) and len(statistics) == 2:
        mean, std = (_numbers(part) for part in statistics)
    else:
        raise AdaptError(f"normalisation can't be {statistics!r}", hint=_HINT)
    mean, std = (part * channels if len(part) == 1 else part for part in (mean, std))
    if len(mean) != channels or len(std) != channels:
        raise AdaptError(
            f"a mean of {len(mean)} and a std of {len(std)} numbers don't fit {channels} channels"
        )
    if not all(number > 0 for number in std):
        raise AdaptError(f"a std must be above 0, not {list(std)}")
    return mean, std


def _numbers(part: object) -> tuple[float, ...]:
    numbers = part if isinstance(part, Sequence) and not isinstance(part, str) else [part]
    if not numbers or not all(isinstance(number, (int, float)) for number in numbers):
        raise AdaptError(f"normalisation can't hold {part!r}", hint=_HINT)
    return tuple(map(float, numbers))
