"""How a model does on some of the images: those of one patient, site or camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["GroupScore"]


@dataclass(frozen=True, slots=True)
class GroupScore:
    """One group of images.

    Attributes:
        name: As the data calls it.
        count: Its number of images.
        metrics: As `metrics()` of an evaluation of these images alone.
    """

    name: str
    count: int
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {"name": self.name, "count": self.count, **self.metrics}
