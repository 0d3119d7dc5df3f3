"""`evaluate`: how well a model does on images whose classes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchgraft.finetuning.images.readable import Unreadable, keep_readable
from torchgraft.finetuning.images.sources import Data, parts_of
from torchgraft.finetuning.metrics import Evaluation, measure
from torchgraft.finetuning.requirements import require
from torchgraft.model_info import Preprocessing, info_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["evaluate"]


def evaluate(
    model: nn.Module,
    data: Data,
    *,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 32,
    unreadable: Unreadable = "error",
) -> Evaluation:
    """Compare a model's predictions with the truth.

    Classes are found by name: the data may hold some of the model's classes, in any order. Labels
    that are numbers are positions in the model's outputs. Of a folder that is split, `test/` is
    taken if it is there, else `val/`.

    Args:
        model: Runs where it is, in evaluation mode, and is left in the mode it was in.
        data: As for `finetune`.
        preprocessing: How an image becomes an input, if not as the model remembers.
        batch_size: Images at a time.
        unreadable: `"skip"` leaves out images that can't be read; they are named in the result.

    Raises:
        DataError: The images or labels can't be used, or have classes that the model doesn't know.
        TrainingError: The model's outputs are no class scores, or no finite numbers.
    """
    require("PIL", "sklearn")
    import numpy as np

    from torchgraft.finetuning.batches import Inputs, batches
    from torchgraft.finetuning.scoring import class_scores, device_of
    from torchgraft.finetuning.subject import align, labels_of, outputs_of, preprocessing_of

    how = preprocessing_of(model, preprocessing)
    labels = labels_of(model, outputs_of(model, how))
    parts = parts_of(data, known=labels, complete=False)
    images = next(parts[name] for name in ("test", "val", "all") if name in parts)
    images = align(images, labels, named=info_of(model).labels is not None)
    images, skipped = keep_readable(images, channels=how.channels, unreadable=unreadable)
    loader = batches(Inputs(images, how), batch_size=batch_size)
    probabilities = class_scores(model, loader, device=device_of(model))
    return measure(probabilities.numpy(), np.asarray(images.labels), labels, skipped=skipped)
