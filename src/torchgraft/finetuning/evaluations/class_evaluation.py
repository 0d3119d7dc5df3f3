"""How well a classifier does, by scikit-learn's measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.finetuning.evaluations.calibration import Calibration, calibration
from torchgraft.finetuning.evaluations.evaluation import check_finite
from torchgraft.finetuning.evaluations.group_score import GroupScore
from torchgraft.finetuning.evaluations.mistakes import Mistake, worst
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    import numpy as np

    from torchgraft.finetuning.images.image_set import Images

__all__ = ["ClassScore", "Evaluation", "measure_classes"]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: `precision`, `recall` and `f1` are shares of 0 to 1, `support` its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a classifier does on some images.

    Attributes:
        count: Number of images.
        accuracy: Share that was classified rightly.
        balanced_accuracy: Recall, averaged over the classes that occur.
        macro_f1: F1, averaged over the classes that occur as truth or prediction.
        log_loss: Mean cross-entropy in nats.
        roc_auc: Area under the ROC curve; only for models of two classes when both occur.
        per_class: The classes that occur as truth or prediction, in the model's order.
        confusion: Counts between those classes, one row a true class, one column a predicted one.
        skipped: Names of images that couldn't be read.
        top: `{5: 0.98}`: share of images whose class is among the 5 most probable; where there are more.
        brier: Mean squared distance of the probabilities from the truth, 0 to 2.
        calibration: Confidence against accuracy.
        mistakes: The wrong answers of the highest loss, 24 at most.
        groups: How each group of images does by itself, where the data has groups.
    """

    loss_name: ClassVar[str] = "log_loss"

    count: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    roc_auc: float | None
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    skipped: tuple[str, ...] = ()
    top: Mapping[int, float] = field(default_factory=dict)
    brier: float | None = None
    calibration: Calibration | None = None
    mistakes: tuple[Mistake, ...] = ()
    groups: tuple[GroupScore, ...] = ()

    @property
    def loss(self) -> float:
        """The same as `log_loss`."""
        return self.log_loss

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the rows and columns of `confusion`."""
        return tuple(score.name for score in self.per_class)

    def metrics(self) -> dict[str, float]:
        """The single numbers by name; without those that aren't defined here."""
        values = {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            **{f"top{k}_accuracy": share for k, share in self.top.items()},
            "macro_f1": self.macro_f1,
            "roc_auc": self.roc_auc,
            "log_loss": self.log_loss,
            "brier": self.brier,
            "ece": self.calibration.ece if self.calibration else None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def summary(self) -> str:
        """One line."""
        auc = f", ROC AUC {self.roc_auc:.3f}" if self.roc_auc is not None else ""
        return (
            f"accuracy {self.accuracy:.1%}, balanced {self.balanced_accuracy:.1%}, "
            f"macro F1 {self.macro_f1:.3f}{auc}, log loss {self.log_loss:.3f} on {self.count:,} images"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "task": "classes",
            "count": self.count,
            **self.metrics(),
            "classes": list(self.classes),
            "per_class": [asdict(score) for score in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "calibration": self.calibration.to_json() if self.calibration else None,
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
            "groups": [group.to_json() for group in self.groups],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        return self.summary()


def measure_classes(
    probabilities: np.ndarray[Any, Any],
    truth: np.ndarray[Any, Any],
    classes: Sequence[str],
    *,
    images: Images | None = None,
    top: Sequence[int] = (5,),
    skipped: tuple[str, ...] = (),
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: (images, classes); rows sum to 1.
        truth: (images,), indices into `classes`.
        classes: Names, in the order of the columns.
        images: Name the mistakes; without them, there are none.
        top: For which numbers of guesses to say how often the class is among them.
        skipped: Names of images that were left out.
    """
    require("sklearn")
    import numpy as np
    from sklearn import metrics

    check_finite(probabilities)
    scores = probabilities.astype(np.float64)
    scores /= scores.sum(axis=1, keepdims=True)
    predicted = scores.argmax(axis=1)
    present = np.union1d(truth, predicted)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=present, zero_division=0.0
    )
    # scikit-learn warns of a matrix of one class, which is nothing to warn of here.
    confusion = [[len(truth)]]
    if len(present) > 1:
        confusion = metrics.confusion_matrix(truth, predicted, labels=present).tolist()
    both = scores.shape[1] == 2 and len(np.unique(truth)) == 2
    right = predicted == truth
    of_truth = np.take_along_axis(scores, truth[:, None], axis=1)[:, 0]
    losses = -np.log(np.clip(of_truth, np.finfo(np.float64).eps, None))
    confidence = scores.max(axis=1)
    return Evaluation(
        count=len(truth),
        accuracy=float(metrics.accuracy_score(truth, predicted)),
        balanced_accuracy=float(recall[support > 0].mean()),
        macro_f1=float(f1.mean()),
        log_loss=float(metrics.log_loss(truth, scores, labels=list(range(scores.shape[1])))),
        roc_auc=float(metrics.roc_auc_score(truth, scores[:, 1])) if both else None,
        per_class=tuple(
            ClassScore(classes[label], float(p), float(r), float(f), int(n))
            for label, p, r, f, n in zip(present, precision, recall, f1, support, strict=True)
        ),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        skipped=skipped,
        top={k: _among_best(scores, truth, k) for k in sorted(set(top)) if 1 < k < scores.shape[1]},
        # Σ(p - t)² of a row is Σp² - 2·p[t] + 1, where t is 1 for the truth and 0 elsewhere
        brier=float((np.square(scores).sum(axis=1) - 2 * of_truth + 1).mean()),
        calibration=calibration(confidence, right),
        mistakes=worst(
            losses,
            images,
            lambda i: (classes[truth[i]], classes[predicted[i]], float(confidence[i])),
            among=np.flatnonzero(~right).tolist(),
        ),
    )


def _among_best(scores: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], k: int) -> float:
    """Share of rows whose true column is among the k highest; of equals, the first columns."""
    best = (-scores).argsort(axis=1, kind="stable")[:, :k]
    return float((best == truth[:, None]).any(axis=1).mean())
