"""What the evaluations of all tasks have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torchgraft.errors import TrainingError

if TYPE_CHECKING:
    import numpy as np

    from torchgraft.finetuning.evaluations.group_score import GroupScore
    from torchgraft.finetuning.evaluations.mistakes import Mistake

__all__ = ["AnyEvaluation", "check_finite"]


class AnyEvaluation(Protocol):
    """How well a model does on some images; each task has a frozen dataclass of its own."""

    loss_name: ClassVar[str]
    """What `metrics` calls the loss."""

    @property
    def count(self) -> int:
        """Number of images."""
        ...

    @property
    def loss(self) -> float:
        """The mean of what training makes small."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what is told apart or measured."""
        ...

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The images with the worst answers, the worst first."""
        ...

    @property
    def groups(self) -> tuple[GroupScore, ...]:
        """How each group of images does by itself, where the data has groups."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of images that couldn't be read."""
        ...

    def metrics(self) -> dict[str, float]:
        """The single numbers by name, the loss among them; without those that aren't defined here."""
        ...

    def summary(self) -> str:
        """One line."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        ...


def check_finite(outputs: np.ndarray[Any, Any]) -> None:
    """Raises `TrainingError` where a model's outputs are no finite numbers."""
    import numpy as np

    if not np.isfinite(outputs).all():
        raise TrainingError(
            "the model's outputs are not finite numbers",
            hint="check that the weights were loaded and that preprocessing suits them",
        )
