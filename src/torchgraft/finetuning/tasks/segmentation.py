"""Each pixel of an image has one class of several, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from torchgraft.finetuning.evaluations.segmentation_evaluation import SegmentationEvaluation, measure_regions
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.masks import IGNORED
from torchgraft.finetuning.outputs import maps_of, precise

__all__ = ["Segmentation"]

_AUXILIARY = 0.4
"""How much an auxiliary classifier's loss counts: Zhao et al. 2017, "Pyramid Scene Parsing Network"."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Cross-entropy of each pixel; the best epoch has the highest mean intersection over union."""

    name: ClassVar[str] = "segmentation"
    mixes: ClassVar[bool] = False
    units: ClassVar[None] = None

    @classmethod
    def of(cls, images: Images) -> Segmentation:  # noqa: ARG003 (the same for all)
        """The task."""
        return cls()

    def target(self, label: torch.Tensor) -> torch.Tensor:
        """The mask, int64 (height, width)."""
        return label

    def outputs(self, output: object) -> torch.Tensor:
        """Class scores (batch, maps, classes, height, width): the model's own, then auxiliary ones."""
        return maps_of(output)

    def loss(
        self,
        outputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        label_smoothing: float = 0.0,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Cross-entropy in nats, the mean over the pixels that have a class; scores are resized to the mask.

        Auxiliary maps count 0.4 times as much.
        """
        if bool((targets == IGNORED).all()):
            return outputs.sum() * 0.0  # the mean over no pixel would be NaN
        total = outputs.new_zeros(())
        for place, scores in enumerate(outputs.unbind(dim=1)):
            loss = functional.cross_entropy(
                _sized(scores, targets),
                targets,
                weight=weight,
                ignore_index=IGNORED,
                label_smoothing=label_smoothing,
            )
            total = total + (loss if place == 0 else _AUXILIARY * loss)
        return total

    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """For each class the pixels that are right, predicted and true; then the sum of the losses.

        Float64 (batch, 3 · classes + 1), so that counts stay exact.
        """
        scores = _sized(outputs[:, 0], targets)
        classes = scores.shape[1]
        guess = scores.argmax(dim=1)
        known = targets != IGNORED
        row = torch.arange(len(scores), device=scores.device)[:, None, None].expand_as(guess)

        def counted(numbers: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
            flat = (row * classes + numbers)[where]
            return torch.bincount(flat, minlength=len(scores) * classes).view(len(scores), classes)

        counts = [
            counted(guess, known & (guess == targets)),
            counted(guess, known),
            counted(targets, known),
        ]
        losses = functional.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="none")
        total = precise(losses).sum(dim=(1, 2))
        return torch.cat([*(precise(count) for count in counts), total[:, None]], dim=1)

    def measure(
        self,
        outcomes: torch.Tensor,
        images: Images,
        classes: Sequence[str],
        *,
        skipped: tuple[str, ...] = (),
    ) -> SegmentationEvaluation:
        """Of the masks as they were resized and cropped with the images."""
        counts = outcomes[:, :-1].reshape(len(outcomes), 3, -1).numpy()
        return measure_regions(counts, outcomes[:, -1].numpy(), classes, images=images, skipped=skipped)

    def rank(self, val: Mapping[str, float]) -> tuple[float, ...]:
        """Mean intersection over union, then loss."""
        return (val["mean_iou"], -val["loss"])


def _sized(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The scores at the mask's size."""
    if scores.shape[-2:] == targets.shape[-2:]:
        return scores
    return functional.interpolate(scores, targets.shape[-2:], mode="bilinear", align_corners=False)
