"""How well a model does where an image has any number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.finetuning.evaluations.calibration import Calibration, calibration
from torchgraft.finetuning.evaluations.evaluation import check_finite
from torchgraft.finetuning.evaluations.group_score import GroupScore
from torchgraft.finetuning.evaluations.mistakes import Mistake, worst
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    import numpy as np

    from torchgraft.finetuning.images.image_set import Images

__all__ = ["LabelScore", "MultiLabelEvaluation", "measure_labels"]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One class.

    Attributes:
        name: The class.
        average_precision: Area under the precision-recall curve, 0 to 1; `None` for a class without images.
        precision: At the threshold, as `recall` and `f1`.
        recall: Share of its images that were found.
        f1: Their harmonic mean.
        support: Its number of images.
    """

    name: str
    average_precision: float | None
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class MultiLabelEvaluation:
    """How well a model does on images of several classes each.

    Attributes:
        count: Number of images.
        mean_average_precision: Over the classes that occur; `None` where none does.
        macro_f1: F1, averaged over the classes that occur as truth or prediction.
        micro_f1: F1 of all classes' decisions together.
        exact_match: Share of images of which every class is right.
        loss: Mean binary cross-entropy of a class, in nats.
        threshold: The probability from which a class counts as predicted.
        per_class: Every class, in the model's order.
        calibration: Probabilities of all classes against how often these are there.
        skipped: Names of images that couldn't be read.
        mistakes: The images of the highest loss of which a class is wrong, 24 at most.
        groups: How each group of images does by itself, where the data has groups.
    """

    loss_name: ClassVar[str] = "loss"

    count: int
    mean_average_precision: float | None
    macro_f1: float
    micro_f1: float
    exact_match: float
    loss: float
    threshold: float
    per_class: tuple[LabelScore, ...]
    calibration: Calibration
    skipped: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    groups: tuple[GroupScore, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the model's order."""
        return tuple(score.name for score in self.per_class)

    def metrics(self) -> dict[str, float]:
        """The single numbers by name; without those that aren't defined here."""
        values = {
            "mean_average_precision": self.mean_average_precision,
            "macro_f1": self.macro_f1,
            "micro_f1": self.micro_f1,
            "exact_match": self.exact_match,
            "loss": self.loss,
            "ece": self.calibration.ece,
        }
        return {name: value for name, value in values.items() if value is not None}

    def summary(self) -> str:
        """One line."""
        mean = self.mean_average_precision
        return (
            f"{f'mAP {mean:.3f}, ' if mean is not None else ''}macro F1 {self.macro_f1:.3f}, "
            f"micro F1 {self.micro_f1:.3f}, all classes right {self.exact_match:.1%}, "
            f"loss {self.loss:.3f} on {self.count:,} images"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "task": "multi-label",
            "count": self.count,
            **self.metrics(),
            "threshold": self.threshold,
            "classes": list(self.classes),
            "per_class": [asdict(score) for score in self.per_class],
            "calibration": self.calibration.to_json(),
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
            "groups": [group.to_json() for group in self.groups],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        return self.summary()


def measure_labels(
    logits: np.ndarray[Any, Any],
    truth: np.ndarray[Any, Any],
    classes: Sequence[str],
    *,
    images: Images | None = None,
    threshold: float = 0.5,
    skipped: tuple[str, ...] = (),
) -> MultiLabelEvaluation:
    """Compare predictions with the truth.

    Args:
        logits: (images, classes), before the sigmoid.
        truth: (images, classes), bool.
        classes: Names, in the order of the columns.
        images: Name the mistakes; without them, there are none.
        threshold: The probability from which a class counts as predicted.
        skipped: Names of images that were left out.
    """
    require("sklearn")
    import numpy as np
    from sklearn import metrics

    check_finite(logits)
    scores = logits.astype(np.float64)
    probabilities = np.exp(-np.logaddexp(0, -scores))
    predicted = probabilities >= threshold
    losses = (np.logaddexp(0, scores) - scores * truth).mean(axis=1)
    hits, said, support = ((truth & predicted).sum(axis=0), predicted.sum(axis=0), truth.sum(axis=0))
    average = [
        float(metrics.average_precision_score(truth[:, column], scores[:, column])) if there else None
        for column, there in enumerate(support)
    ]
    precision = hits / np.maximum(said, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(said + support, 1)
    seen = (support > 0) | (said > 0)
    known = [value for value in average if value is not None]
    return MultiLabelEvaluation(
        count=len(truth),
        mean_average_precision=float(np.mean(known)) if known else None,
        macro_f1=float(f1[seen].mean()) if seen.any() else 0.0,
        micro_f1=float(2 * hits.sum() / max(int(said.sum() + support.sum()), 1)),
        exact_match=float((predicted == truth).all(axis=1).mean()),
        loss=float(losses.mean()),
        threshold=threshold,
        per_class=tuple(
            LabelScore(name, ap, float(p), float(r), float(f), int(n))
            for name, ap, p, r, f, n in zip(classes, average, precision, recall, f1, support, strict=True)
        ),
        calibration=calibration(probabilities.ravel(), truth.ravel()),
        skipped=skipped,
        mistakes=worst(
            losses,
            images,
            lambda i: (_named(truth[i], classes), _named(predicted[i], classes), None),
            among=np.flatnonzero((predicted != truth).any(axis=1)).tolist(),
        ),
    )


def _named(flags: np.ndarray[Any, Any], classes: Sequence[str]) -> str:
    return ", ".join(name for name, flag in zip(classes, flags.tolist(), strict=True) if flag) or "none"
