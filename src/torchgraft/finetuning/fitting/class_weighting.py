"""How much an image of each class counts, where some classes have few."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.masks import IGNORED

__all__ = ["amount", "class_weighting"]


def class_weighting(images: Images, how: str | Mapping[str, float] | None) -> torch.Tensor | None:
    """A float32 weight for each of `images.classes`; `None`: all count alike.

    Args:
        images: The training images.
        how: `"balanced"`: so that all classes count the same in all, as scikit-learn computes it; or a
            mapping from class name to weight, 1 for those that are not named.

    Raises:
        TrainingError: The images have no classes to be weighted, or none of that name.
    """
    if how is None:
        return None
    if images.task == "regression":
        raise TrainingError("class_weights is for classes, and the task is 'regression'")
    if isinstance(how, str):
        return torch.from_numpy(_balanced(images)).float()
    unknown = [name for name in how if name not in images.classes]
    if unknown:
        raise TrainingError(
            f"class_weights names {unknown[0]!r}, which is no class of the images",
            hint=f"classes: {', '.join(images.classes[:20])}",
        )
    weights = [float(how.get(name, 1.0)) for name in images.classes]
    if not all(0 <= weight < float("inf") for weight in weights):
        raise TrainingError(f"class_weights={dict(how)!r} are not all numbers of at least 0")
    return torch.tensor(weights)


def amount(task: str, targets: torch.Tensor, rows: int, weight: torch.Tensor | None) -> torch.Tensor:
    """How much a batch's mean loss counts beside those of other batches: what the mean was divided by.

    Images; pixels that have a class, for masks; the sum of their weights where classes are weighted.

    Args:
        task: Its name.
        targets: Of the whole batch.
        rows: How many of them count; the rest only fill up.
        weight: One a class.
    """
    if task == "segmentation":
        known = targets[:rows] != IGNORED
        if weight is None:
            return known.sum().double()
        return weight[targets[:rows].clamp(0, len(weight) - 1)][known].sum().double()
    if weight is not None and not targets.is_floating_point():
        return weight[targets[:rows]].sum().double()
    return torch.tensor(float(rows), dtype=torch.float64)


def _balanced(images: Images) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    counts = np.array(list(images.counts().values()), dtype=np.float64)
    if images.task == "classes":
        from sklearn.utils.class_weight import compute_class_weight

        present = np.unique(np.asarray(images.labels))
        weights = np.ones(len(images.classes))
        weights[present] = compute_class_weight("balanced", classes=present, y=np.asarray(images.labels))
        return weights
    share = np.where(counts > 0, counts.sum() / (len(counts) * np.maximum(counts, 1)), 1.0)
    return np.asarray(share, dtype=np.float64)
