"""Whether a model is right as often as it says it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Calibration", "CalibrationBin", "calibration"]

_BINS = 15


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Images whose guess has a probability in (`low`, `high`].

    Attributes:
        low: The bin's lower end, 0 to 1.
        high: Its upper end.
        count: How many images are in it.
        confidence: The mean probability of their guesses; `None` where there are none.
        accuracy: The share of them that is right; likewise.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence against accuracy, as in Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Attributes:
        ece: Expected calibration error: the mean gap between confidence and accuracy, weighted by count.
        max_error: The largest gap of a bin.
        bins: 15 of equal width, from 0 to 1: a reliability diagram.
    """

    ece: float
    max_error: float
    bins: tuple[CalibrationBin, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "ece": self.ece,
            "max_error": self.max_error,
            "bins": [asdict(entry) for entry in self.bins],
        }


def calibration(
    confidence: np.ndarray[Any, Any], right: np.ndarray[Any, Any], *, bins: int = _BINS
) -> Calibration:
    """Compare the guesses' probabilities (images,) with whether they are right (images,)."""
    import numpy as np

    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidence, minlength=bins)
    hits = np.bincount(place, weights=right.astype(float), minlength=bins)
    gaps = np.abs(sure - hits)
    return Calibration(
        ece=float(gaps.sum() / max(len(confidence), 1)),
        max_error=float((gaps / np.maximum(counts, 1)).max()),
        bins=tuple(
            CalibrationBin(
                low=index / bins,
                high=(index + 1) / bins,
                count=int(count),
                confidence=float(sure[index] / count) if count else None,
                accuracy=float(hits[index] / count) if count else None,
            )
            for index, count in enumerate(counts)
        ),
    )
