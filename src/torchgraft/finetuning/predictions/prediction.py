"""An answer about one image: a frozen dataclass for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

__all__ = ["AnyPrediction", "LabelsPrediction", "MaskPrediction", "NumbersPrediction", "Prediction"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable classes of an image.

    Attributes:
        name: The image's path, or `image 3`.
        labels: Class names, the most probable first.
        probabilities: Theirs, 0 to 1.
        indices: Their positions in the model's outputs.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    indices: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def row(self) -> dict[str, object]:
        """One line of a table: `label`, `probability`, `label_2`, `probability_2`, …"""
        cells: dict[str, object] = {"image": self.name}
        for rank, (label, probability) in enumerate(zip(self.labels, self.probabilities, strict=True), 1):
            end = f"_{rank}" if rank > 1 else ""
            cells |= {f"label{end}": label, f"probability{end}": probability}
        return cells

    def __str__(self) -> str:
        return f"{self.name}: {_listed(self.labels, self.probabilities)}"


@dataclass(frozen=True, slots=True)
class LabelsPrediction:
    """The classes of an image that may have several.

    Attributes:
        name: The image's path, or `image 3`.
        labels: Those whose probability reaches the threshold, the most probable first.
        probabilities: Theirs, 0 to 1.
        every: The probability of every class, in the order of the model's outputs.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    every: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "name": self.name,
            "labels": list(self.labels),
            "probabilities": list(self.probabilities),
            "every": dict(self.every),
        }

    def row(self) -> dict[str, object]:
        """One line of a table: the labels in one cell, then the probability of every class."""
        return {"image": self.name, "labels": "; ".join(self.labels), **self.every}

    def __str__(self) -> str:
        return f"{self.name}: {_listed(self.labels, self.probabilities) or 'none'}"


@dataclass(frozen=True, slots=True)
class NumbersPrediction:
    """The numbers of an image.

    Attributes:
        name: The image's path, or `image 3`.
        values: Each number by its name.
    """

    name: str
    values: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {"name": self.name, "values": dict(self.values)}

    def row(self) -> dict[str, object]:
        """One line of a table."""
        return {"image": self.name, **self.values}

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(f'{name} {value:.4g}' for name, value in self.values.items())}"


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrediction:
    """The class of each pixel of an image.

    Attributes:
        name: The image's path, or `image 3`.
        mask: Positions in `classes`, uint8 or uint16 (height, width) of the image itself.
        classes: Their names.
        shares: The share of the pixels that each class has, in the order of `classes`.
        path: Where the mask was written, if it was.
    """

    name: str
    mask: np.ndarray[Any, Any] = field(repr=False)
    classes: tuple[str, ...]
    shares: Mapping[str, float]
    path: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file, without the mask itself."""
        return {
            "name": self.name,
            "size": list(self.mask.shape),
            "shares": dict(self.shares),
            "path": self.path,
        }

    def row(self) -> dict[str, object]:
        """One line of a table: the mask's file, then the share of every class."""
        return {"image": self.name, "mask": self.path or "", **self.shares}

    def __str__(self) -> str:
        most = sorted(self.shares.items(), key=lambda pair: -pair[1])[:5]
        return f"{self.name}: {', '.join(f'{share:.1%} {name}' for name, share in most if share)}"


AnyPrediction: TypeAlias = "Prediction | LabelsPrediction | NumbersPrediction | MaskPrediction"


def _listed(labels: tuple[str, ...], probabilities: tuple[float, ...]) -> str:
    return ", ".join(f"{p:.1%} {label}" for label, p in zip(labels, probabilities, strict=True))
