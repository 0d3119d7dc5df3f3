"""The section with a confusion matrix: counts and shares; for many classes a heat map and the worst pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.confusions import Confusions
from torchgraft.report.quantities import percent, plural

__all__ = ["ConfusionSection"]

_MOST_WITH_NUMBERS = 12
_MOST_PAIRS = 12


@dataclass(frozen=True, slots=True)
class ConfusionSection:
    """Which classes are taken for which.

    Attributes:
        labels: Class names, in the order of the matrix.
        counts: One row a true class, one column a predicted class.
    """

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    title: str = "What is taken for what"
    text: str = ""
    template: ClassVar[str] = "confusion.html"
    styles: ClassVar[tuple[str, ...]] = ("confusion.css",)

    def view(self) -> Mapping[str, object]:
        """Cells with their shares, or coordinates where there are too many for a table."""
        counted = Confusions.of(self.labels, self.counts)
        n = len(counted.labels)
        accuracy = percent(counted.right / counted.total if counted.total else 0.0)
        return {
            "text": self.text,
            "labels": counted.labels,
            "summary": f"{counted.right:,} of {plural(counted.total, 'example')} right ({accuracy}).",
            "table": [_row(counted, i) for i in range(n)] if n <= _MOST_WITH_NUMBERS else None,
            "heat": [
                (j, i, percent(counted.share(i, j)), _opacity(counted.share(i, j), right=i == j), i == j)
                for i in range(n)
                for j in range(n)
                if counted.counts[i][j]
            ]
            if n > _MOST_WITH_NUMBERS
            else None,
            "worst": [
                (counted.labels[i], counted.labels[j], counted.counts[i][j], percent(counted.share(i, j)))
                for i, j in counted.worst(_MOST_PAIRS)
            ]
            if n > _MOST_WITH_NUMBERS
            else [],
        }


def _opacity(share: float, *, right: bool) -> float:
    """Mistakes are few and small: what there is of them is to be seen."""
    return round(share if right else 0.25 + 0.75 * share**0.5, 3)


def _row(counted: Confusions, true: int) -> tuple[str, int, list[tuple[int, str, float, bool]]]:
    shares = [counted.share(true, predicted) for predicted in range(len(counted.labels))]
    cells = [
        (count, percent(share), round(100 * share, 1), predicted == true)
        for predicted, (count, share) in enumerate(zip(counted.counts[true], shares, strict=True))
    ]
    return counted.labels[true], sum(counted.counts[true]), cells
