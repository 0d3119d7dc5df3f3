"""How well a model's masks cover the true ones, from counts of pixels."""

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

__all__ = ["RegionScore", "SegmentationEvaluation", "measure_regions"]


@dataclass(frozen=True, slots=True)
class RegionScore:
    """One class; shares of 0 to 1, `None` where they aren't defined.

    Attributes:
        name: The class.
        iou: Pixels of both truth and prediction, of those of either; `None` where there are none.
        recall: Share of its pixels that were found.
        precision: Share of the pixels predicted as this class that are.
        pixels: Its number of pixels in the truth.
    """

    name: str
    iou: float | None
    recall: float | None
    precision: float | None
    pixels: int


@dataclass(frozen=True, slots=True)
class SegmentationEvaluation:
    """How well masks are predicted; pixels of no class count nowhere.

    Attributes:
        count: Number of images.
        mean_iou: Intersection over union, averaged over the classes that occur as truth or prediction.
        pixel_accuracy: Share of pixels that are right.
        mean_accuracy: Recall, averaged over the classes that occur.
        loss: Mean cross-entropy of a pixel, in nats.
        per_class: Every class, in the model's order.
        skipped: Names of images that couldn't be read.
        mistakes: The images of the highest loss a pixel, 24 at most; each guess is its share of right pixels.
        groups: How each group of images does by itself, where the data has groups.
    """

    loss_name: ClassVar[str] = "loss"

    count: int
    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    loss: float
    per_class: tuple[RegionScore, ...]
    skipped: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    groups: tuple[GroupScore, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the model's order."""
        return tuple(score.name for score in self.per_class)

    def metrics(self) -> dict[str, float]:
        """The single numbers by name."""
        return {
            "mean_iou": self.mean_iou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "loss": self.loss,
        }

    def summary(self) -> str:
        """One line."""
        return (
            f"mean IoU {self.mean_iou:.3f}, pixels right {self.pixel_accuracy:.1%}, "
            f"loss {self.loss:.3f} on {self.count:,} images"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "task": "segmentation",
            "count": self.count,
            **self.metrics(),
            "classes": list(self.classes),
            "per_class": [asdict(score) for score in self.per_class],
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
            "groups": [group.to_json() for group in self.groups],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        return self.summary()


def measure_regions(
    counts: np.ndarray[Any, Any],
    losses: np.ndarray[Any, Any],
    classes: Sequence[str],
    *,
    images: Images | None = None,
    skipped: tuple[str, ...] = (),
) -> SegmentationEvaluation:
    """Sum up the pixels of all images.

    Args:
        counts: (images, 3, classes): pixels of a class that are right, that are predicted, that are true.
        losses: (images,): the sum over an image's pixels.
        classes: Names, in the order of the columns.
        images: Name the mistakes; without them, there are none.
        skipped: Names of images that were left out.
    """
    import numpy as np

    check_finite(losses)
    right, predicted, true = counts.astype(np.int64).sum(axis=0)
    either = predicted + true - right
    pixels = counts[:, 2].sum(axis=1)
    shares = counts[:, 0].sum(axis=1) / np.maximum(pixels, 1)
    total = max(int(true.sum()), 1)
    return SegmentationEvaluation(
        count=len(counts),
        mean_iou=_mean(right, either),
        pixel_accuracy=int(right.sum()) / total,
        mean_accuracy=_mean(right, true),
        loss=float(losses.astype(np.float64).sum() / total),
        per_class=tuple(
            RegionScore(name, _share(hit, union), _share(hit, there), _share(hit, said), int(there))
            for name, hit, union, there, said in zip(classes, right, either, true, predicted, strict=True)
        ),
        skipped=skipped,
        mistakes=worst(
            losses / np.maximum(pixels, 1), images, lambda i: ("", f"{shares[i]:.1%} of pixels right", None)
        ),
    )


def _mean(part: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> float:
    """The shares' mean over where there is a whole; 0 where there is none at all."""
    some = whole > 0
    return float((part[some] / whole[some]).mean()) if some.any() else 0.0


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
