"""`predict`: the most probable classes of some images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torchgraft.errors import DataError
from torchgraft.finetuning.images.folders import image_paths
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.requirements import require
from torchgraft.model_info import Preprocessing

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Prediction", "predict", "prepared"]

Asked: TypeAlias = Any
"""A path, a folder, a PIL image, an array (height, width[, channels]), or several of them."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model sees in one image.

    Attributes:
        name: The image's path, or `image 3`.
        labels: Class names, the most probable first.
        probabilities: Theirs, 0 to 1.
        indices: Their positions in the model's outputs.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    indices: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        guesses = (f"{p:.1%} {label}" for label, p in zip(self.labels, self.probabilities, strict=True))
        return f"{self.name}: {', '.join(guesses)}"


def predict(
    model: nn.Module,
    images: Asked,
    *,
    top: int = 5,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 32,
) -> list[Prediction]:
    """The `top` most probable classes of each image, in the order given; a folder's sorted by path.

    Args:
        model: Runs where it is, in evaluation mode, and is left in the mode it was in.
        images: Paths, folders (with all that is under them), PIL images, arrays or tensors; one or several.
        top: How many classes to give; fewer if the model has fewer.
        preprocessing: How an image becomes an input, if not as the model remembers.
        batch_size: Images at a time.

    Raises:
        DataError: There is no image, or one can't be read; it is named.
        TrainingError: The model's outputs are no class scores.
    """
    if top < 1:
        raise DataError(f"top={top} is not a number of classes")
    require("PIL")
    from torchgraft.finetuning.batches import Inputs, batches
    from torchgraft.finetuning.scoring import class_scores, device_of
    from torchgraft.finetuning.subject import labels_of, preprocessing_of

    asked = _images(images)
    how = preprocessing_of(model, preprocessing)
    loader = batches(Inputs(asked, how), batch_size=batch_size)
    scores = class_scores(model, loader, device=device_of(model))
    labels = labels_of(model, scores.shape[1])
    probabilities, indices = scores.topk(min(top, scores.shape[1]), dim=1)
    return [
        Prediction(name, tuple(labels[i] for i in places), tuple(shares), tuple(places))
        for name, shares, places in zip(asked.names, probabilities.tolist(), indices.tolist(), strict=True)
    ]


def prepared(
    model: nn.Module, images: Asked, *, preprocessing: Preprocessing | None = None, batch_size: int = 32
) -> Iterator[torch.Tensor]:
    """The inputs that `predict` gives to the model, batch by batch; arguments and errors as there."""
    require("PIL")
    from torchgraft.finetuning.batches import Inputs, batches
    from torchgraft.finetuning.subject import preprocessing_of

    asked = _images(images)
    how = preprocessing_of(model, preprocessing)
    for inputs, *_ in batches(Inputs(asked, how), batch_size=batch_size):
        yield inputs


def _images(asked: Asked) -> Images:
    items: list[Any] = []
    for item in asked if _several(asked) else [asked]:
        if isinstance(item, (str, os.PathLike)) and Path(item).is_dir():
            items += image_paths(Path(item))
        else:
            items.append(Path(item) if isinstance(item, str) else item)
    if not items:
        raise DataError("no images", where=str(asked) if isinstance(asked, (str, os.PathLike)) else None)
    names = tuple(str(item) if isinstance(item, Path) else f"image {i}" for i, item in enumerate(items))
    return Images(items, labels=(0,) * len(items), classes=("",), names=names)


def _several(asked: Asked) -> bool:
    """Lists, and arrays with one dimension more than an image's three; a tuple or generator of images too."""
    if isinstance(asked, (str, os.PathLike)):
        return False
    dimensions = getattr(asked, "ndim", None)
    if dimensions is not None:
        return bool(dimensions == 4)
    return hasattr(asked, "__iter__")
