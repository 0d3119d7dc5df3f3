"""How near a model's numbers come to the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.finetuning.evaluations.evaluation import check_finite
from torchgraft.finetuning.evaluations.group_score import GroupScore
from torchgraft.finetuning.evaluations.mistakes import Mistake, worst

if TYPE_CHECKING:
    import numpy as np

    from torchgraft.finetuning.images.image_set import Images

__all__ = ["RegressionEvaluation", "TargetScore", "measure_numbers"]


@dataclass(frozen=True, slots=True)
class TargetScore:
    """One of the numbers, in its own unit.

    Attributes:
        name: What it is.
        mae: Mean absolute error.
        rmse: Root of the mean squared error.
        r2: Coefficient of determination: 1 is perfect, 0 no better than the mean; `None` where the truth
            is the same for all images.
        bias: Mean of prediction minus truth.
    """

    name: str
    mae: float
    rmse: float
    r2: float | None
    bias: float


@dataclass(frozen=True, slots=True)
class RegressionEvaluation:
    """How near predicted numbers come to the truth.

    Attributes:
        count: Number of images.
        loss: Mean over images and numbers of the squared error, each number first divided by its standard
            deviation in the training images; outside of training, where that is not known, as it is.
        per_target: Each number's own errors.
        skipped: Names of images that couldn't be read.
        mistakes: The images that are furthest off, 24 at most.
        groups: How each group of images does by itself, where the data has groups.
    """

    loss_name: ClassVar[str] = "loss"

    count: int
    loss: float
    per_target: tuple[TargetScore, ...]
    skipped: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    groups: tuple[GroupScore, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return tuple(score.name for score in self.per_target)

    @property
    def mae(self) -> float:
        """Mean absolute error, averaged over the numbers."""
        return sum(score.mae for score in self.per_target) / len(self.per_target)

    @property
    def rmse(self) -> float:
        """Root mean squared error, averaged over the numbers."""
        return sum(score.rmse for score in self.per_target) / len(self.per_target)

    @property
    def r2(self) -> float | None:
        """R², averaged over the numbers that have one."""
        known = [score.r2 for score in self.per_target if score.r2 is not None]
        return sum(known) / len(known) if known else None

    def metrics(self) -> dict[str, float]:
        """The single numbers by name; without those that aren't defined here."""
        values = {"mae": self.mae, "rmse": self.rmse, "r2": self.r2, "loss": self.loss}
        return {name: value for name, value in values.items() if value is not None}

    def summary(self) -> str:
        """One line."""
        r2 = f", R² {self.r2:.3f}" if self.r2 is not None else ""
        return f"MAE {self.mae:.4g}, RMSE {self.rmse:.4g}{r2} on {self.count:,} images"

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "task": "regression",
            "count": self.count,
            **self.metrics(),
            "classes": list(self.classes),
            "per_target": [asdict(score) for score in self.per_target],
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
            "groups": [group.to_json() for group in self.groups],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        return self.summary()


def measure_numbers(
    predicted: np.ndarray[Any, Any],
    truth: np.ndarray[Any, Any],
    names: Sequence[str],
    *,
    std: Sequence[float] = (),
    images: Images | None = None,
    skipped: tuple[str, ...] = (),
) -> RegressionEvaluation:
    """Compare numbers with the truth, both (images, numbers).

    Args:
        predicted: In the truth's units.
        truth: The right numbers.
        names: Of the columns.
        std: What the loss divides each number's error by; nothing: 1.
        images: Name the mistakes; without them, there are none.
        skipped: Names of images that were left out.
    """
    import numpy as np

    check_finite(predicted)
    off = predicted.astype(np.float64) - truth
    squared = np.square(off)
    losses = (squared / np.square(np.asarray(std or [1.0] * len(names)))).mean(axis=1)
    spread = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    return RegressionEvaluation(
        count=len(truth),
        loss=float(losses.mean()),
        per_target=tuple(
            TargetScore(
                name,
                mae=float(np.abs(off[:, column]).mean()),
                rmse=float(np.sqrt(squared[:, column].mean())),
                r2=float(1 - squared[:, column].sum() / spread[column]) if spread[column] > 0 else None,
                bias=float(off[:, column].mean()),
            )
            for column, name in enumerate(names)
        ),
        skipped=skipped,
        mistakes=worst(losses, images, lambda i: (_listed(truth[i]), _listed(predicted[i]), None)),
    )


def _listed(numbers: np.ndarray[Any, Any]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers.tolist())
