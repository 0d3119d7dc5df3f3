"""How well a classifier does, by scikit-learn's measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torchgraft.errors import TrainingError
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ClassScore", "Evaluation", "measure"]


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
    """

    count: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    roc_auc: float | None
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    skipped: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the rows and columns of `confusion`."""
        return tuple(score.name for score in self.per_class)

    def metrics(self) -> dict[str, float]:
        """The single numbers by name; without those that aren't defined here."""
        values = {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "roc_auc": self.roc_auc,
            "log_loss": self.log_loss,
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
            "count": self.count,
            **self.metrics(),
            "classes": list(self.classes),
            "per_class": [asdict(score) for score in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        return self.summary()


def measure(
    probabilities: np.ndarray[Any, Any],
    truth: np.ndarray[Any, Any],
    classes: Sequence[str],
    *,
    skipped: tuple[str, ...] = (),
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: (images, classes); rows sum to 1.
        truth: (images,), indices into `classes`.
        classes: Names, in the order of the columns.
        skipped: Names of images that were left out.
    """
    require("sklearn")
    import numpy as np
    from sklearn import metrics

    if not np.isfinite(probabilities).all():
        raise TrainingError(
            "the model's outputs are not finite numbers",
            hint="check that the weights were loaded and that preprocessing suits them",
        )
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
    )
