"""What a model is to learn: how its outputs are compared with the truth, in training and afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch

    from torchgraft.finetuning.evaluations.evaluation import AnyEvaluation
    from torchgraft.finetuning.images.image_set import Images
    from torchgraft.finetuning.tasks.head_units import HeadUnits

__all__ = ["Task"]


class Task(Protocol):
    """A kind of truth about images; a frozen dataclass."""

    name: ClassVar[str]
    """As in `finetune(task=…)` and `Images.task`."""

    mixes: ClassVar[bool]
    """Whether two images and their targets can be mixed (mixup, cutmix)."""

    @property
    def units(self) -> HeadUnits | None:
        """What makes the outputs in training the user's own; `None`: they are."""
        ...

    @classmethod
    def of(cls, images: Images) -> Task:
        """The task of learning what these images, the training images, say."""
        ...

    def target(self, label: Any) -> Any:
        """One label of `Images.labels` → what a batch holds of it; the loader stacks these into a tensor.

        For segmentation, the label is the mask as a tensor, after resizing and cropping.
        """
        ...

    def outputs(self, output: object) -> torch.Tensor:
        """The model's output → the tensor that `loss` and `outcome` take: a row an image.

        Raises:
            TrainingError: It is none that this task can learn from.
        """
        ...

    def loss(
        self,
        outputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        label_smoothing: float = 0.0,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            outputs: Of `outputs`, float32.
            targets: Of `target`, stacked; or, where images were mixed, (batch, classes) shares.
            label_smoothing: Share of the target that is spread over all classes.
            weight: One a class.
        """
        ...

    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """What is kept of a batch to measure with: one row an image, such as class probabilities."""
        ...

    def measure(
        self,
        outcomes: torch.Tensor,
        images: Images,
        classes: Sequence[str],
        *,
        skipped: tuple[str, ...] = (),
    ) -> AnyEvaluation:
        """Compare the `outcomes` of all `images`, in their order, with the truth."""
        ...

    def rank(self, val: Mapping[str, float]) -> tuple[float, ...]:
        """A larger tuple is a better epoch; `val` are the measure's numbers by name, `loss` among them."""
        ...
