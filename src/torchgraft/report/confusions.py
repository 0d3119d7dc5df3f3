"""A confusion matrix with class names that are safe to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torchgraft.report.safe_text import clean

__all__ = ["Confusions"]


@dataclass(frozen=True, slots=True)
class Confusions:
    """Counts of true class (row) against predicted class (column)."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Confusions:
        """Check the matrix; classes without a name are called by their number.

        Raises:
            ValueError: The matrix isn't square, or there is a wrong number of labels.
        """
        rows = tuple(tuple(int(n) for n in row) for row in counts)
        if any(len(row) != len(rows) for row in rows):
            raise ValueError(
                f"a confusion matrix is square, this one has rows of {sorted({len(r) for r in rows})}"
            )
        if labels and len(labels) != len(rows):
            raise ValueError(f"{len(labels)} labels for {len(rows)} classes")
        names = labels or [str(i) for i in range(len(rows))]
        return cls(tuple(clean(name, limit=60) for name in names), rows)

    @property
    def total(self) -> int:
        """How many examples were counted."""
        return sum(map(sum, self.counts))

    @property
    def right(self) -> int:
        """How many of them were predicted as what they are."""
        return sum(row[i] for i, row in enumerate(self.counts))

    def share(self, true: int, predicted: int) -> float:
        """The share of a true class that was predicted as that class, 0 to 1; 0 for an empty row."""
        row = self.counts[true]
        return row[predicted] / sum(row) if any(row) else 0.0

    def worst(self, most: int) -> list[tuple[int, int]]:
        """The wrong pairs (true, predicted) that occur most often, the most frequent first."""
        pairs = [
            (i, j) for i, row in enumerate(self.counts) for j, count in enumerate(row) if count and i != j
        ]
        return sorted(pairs, key=lambda pair: (-self.counts[pair[0]][pair[1]], pair))[:most]
