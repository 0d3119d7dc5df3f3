"""What reached each BatchNorm, beside what it remembers: frozen, printable, JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from torchgraft.errors import VerificationError

__all__ = ["LayerStatistics", "StatisticsCheck", "Verdict"]

Verdict: TypeAlias = Literal["right", "wrong", "unknown"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One BatchNorm.

    Attributes:
        path: Its module path.
        channels: How many channels it has.
        values: How many numbers of each channel reached it.
        shift: How far the channels' means are from the running means, in running standard deviations: the
            mean over the channels, beyond what chance in so few images explains.
        spread: How far the channels' variances are from the running ones, other than by a common factor:
            the mean of the absolute logarithms, likewise.
        factor: That factor, the median over the channels; photos of low contrast have a small one.
    """

    path: str
    channels: int
    values: int
    shift: float
    spread: float
    factor: float


@dataclass(frozen=True, slots=True)
class StatisticsCheck:
    """Whether what reaches a model's BatchNorms is what they saw in training. True as a condition if so.

    Attributes:
        model: What was checked.
        images: On how many images.
        verdict: `"right"`, `"wrong"`, or `"unknown"` where the statistics can't tell.
        why: In a sentence.
        layers: All BatchNorms that were reached, in the order they ran.
        suspects: Paths of those where it goes wrong first.
    """

    model: str
    images: int
    verdict: Verdict
    why: str
    layers: tuple[LayerStatistics, ...]
    suspects: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the verdict is `"right"`; what can't be told has not passed."""
        return self.verdict == "right"

    def __bool__(self) -> bool:
        return self.passed

    def check(self) -> StatisticsCheck:
        """Itself, if it passed.

        Raises:
            VerificationError: It did not, or it can't be told. This is an `AssertionError` too.
        """
        if not self.passed:
            raise VerificationError(
                self.why,
                where=self.model,
                hint="compare outputs instead: torchgraft.verify(model, reference)"
                if self.verdict == "unknown"
                else "look at the plan's pairs around these layers, and whether the images are prepared as in"
                " training",
            )
        return self

    def to_json(self) -> dict[str, object]:
        """Plain data. Infinity is `"inf"`, which JSON has no number for."""
        return {
            "model": self.model,
            "images": self.images,
            "passed": self.passed,
            "verdict": self.verdict,
            "why": self.why,
            "suspects": list(self.suspects),
            "layers": [_as_json(layer) for layer in self.layers],
        }

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.model} on {self.images} image{'s' * (self.images != 1)}: {self.why}"]
        shown = [layer for layer in self.layers if layer.path in self.suspects]
        lines += [
            f"  {one.path}: means off by {one.shift:.2f}, variances by {one.spread:.2f}"
            for one in shown[:_SHOWN]
        ]
        if len(shown) > _SHOWN:
            lines.append(f"  … {len(shown) - _SHOWN} more")
        return "\n".join(lines)


def _as_json(layer: LayerStatistics) -> dict[str, object]:
    """Infinity, where the running statistics are no statistics, is `"inf"`, which JSON has no number for."""
    return {key: "inf" if value == math.inf else value for key, value in asdict(layer).items()}
