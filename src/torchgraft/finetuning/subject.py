"""The model that is trained or asked: what it wants to see, what its outputs mean, where its heads are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from torchgraft.errors import AnatomyError, DataError, TrainingError
from torchgraft.finetuning.images.image_set import Images, unnamed_numbers
from torchgraft.finetuning.outputs import eval_mode, logits_of, main_output, maps_of, numbers_of
from torchgraft.finetuning.scoring import device_of
from torchgraft.model_info import Preprocessing, attach_info, info_of

__all__ = [
    "Subject",
    "align",
    "labels_of",
    "outputs_of",
    "prepare_model",
    "preprocessing_of",
    "task_by_outputs",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model ready to learn some classes.

    Attributes:
        heads: Module paths of its classifiers.
        classes: Class names in the order of its outputs.
        adapted: What was changed for that; empty if nothing was.
        task: What it had learned before, if that is known.
    """

    heads: tuple[str, ...]
    classes: tuple[str, ...]
    adapted: str
    task: str | None = None


def preprocessing_of(model: nn.Module, given: Preprocessing | None) -> Preprocessing:
    """What was given, or what the model remembers, or ImageNet's usual for as many channels as it takes."""
    how = given or info_of(model).preprocessing
    if how is not None:
        return how
    from torchgraft.anatomy import examine

    stems = [site for site in examine(model).stems if site.kind == "conv"]
    how = Preprocessing().with_channels(stems[0].in_size if stems else 3)
    _log.warning(
        "the model doesn't say how its images are prepared; taking %d px and ImageNet's mean and std",
        how.size[0],
    )
    return how


def labels_of(model: nn.Module, outputs: int) -> tuple[str, ...]:
    """The names of the outputs; their numbers where the model has no names."""
    labels = info_of(model).labels
    if labels is None:
        return tuple(str(index) for index in range(outputs))
    if len(labels) != outputs:
        raise DataError(
            f"the model has {outputs} outputs, but remembers {len(labels)} labels",
            hint=f"torchgraft.adapt(model, num_classes={outputs}, labels=[…]) names them",
        )
    return labels


def task_by_outputs(model: nn.Module, how: Preprocessing) -> str:
    """`"segmentation"` where the model gives scores of pixels, else `"classes"`; by running it."""
    return "segmentation" if _outputs(model, how).ndim == 4 else "classes"


def outputs_of(model: nn.Module, how: Preprocessing) -> int:
    """How many classes the model gives scores for, or how many numbers, by running it on a black image.

    Raises:
        TrainingError: It gives neither.
    """
    found = _outputs(model, how)
    return 1 if found.ndim == 1 else int(found.shape[1])


def _outputs(model: nn.Module, how: Preprocessing) -> torch.Tensor:
    image = torch.zeros(1, how.channels, *how.size, device=device_of(model))
    with eval_mode(model), torch.inference_mode():
        output = model(image)
    found = main_output(output)
    if found is None or found.ndim not in (1, 2, 4):
        shape = f" of shape {tuple(found.shape)}" if found is not None else ""
        raise TrainingError(
            f"the model's output, {type(output).__name__}{shape}, is neither scores or numbers of an image "
            "nor scores of its pixels",
            hint="fine-tuning is for models that give (batch, classes) or (batch, classes, height, width)",
        )
    return found


def prepare_model(
    model: nn.Module, classes: Sequence[str], how: Preprocessing, *, task: str = "classes"
) -> Subject:
    """Make the model one for these classes, or numbers; it is changed only if it isn't yet.

    A model that knows the same names in another order keeps its order.

    Raises:
        AnatomyError: Its head can't be told.
        TrainingError: Its outputs are none that the task can learn from.
    """
    from torchgraft.anatomy import examine
    from torchgraft.surgery import adapt

    example = torch.zeros(1, how.channels, *how.size, device=device_of(model))
    _check_outputs(model, example, task)
    heads = examine(model, example=example).heads
    if not heads:
        raise AnatomyError(
            "no layer was found that gives the classes",
            where=type(model).__name__,
            hint="end the model in a linear layer or a convolution, or adapt it with head=…",
        )
    known = info_of(model).labels
    learned = info_of(model).task
    if known is not None and learned == task == "regression" and classes == unnamed_numbers(len(known)):
        classes = known
    adapted = ""
    if known is not None and sorted(known) == sorted(classes):
        classes = known
    elif heads[0].out_size != len(classes) or known is not None:
        adapt(model, num_classes=len(classes), labels=list(classes), example=example)
        what = "numbers" if task == "regression" else "classes"
        adapted = f"head {heads[0].path}: {heads[0].out_size:,} → {len(classes):,} {what}"
        heads = examine(model, example=example).heads
    attach_info(model, replace(info_of(model), labels=tuple(classes), preprocessing=how, task=task))
    return Subject(tuple(head.path for head in heads), tuple(classes), adapted, learned)


def _check_outputs(model: nn.Module, example: torch.Tensor, task: str) -> None:
    """Before anything of the model is changed."""
    with eval_mode(model), torch.inference_mode():
        output = model(example)
    if task == "segmentation":
        maps_of(output)
    elif task != "regression":
        logits_of(output)
    else:
        numbers_of(output)


def align(images: Images, labels: tuple[str, ...], *, named: bool) -> Images:
    """The images with labels that are positions in the model's outputs.

    Args:
        images: Of any classes.
        labels: The names of the outputs.
        named: Whether the names are real ones. If not, the images must have as many classes as the
            model has outputs, and are taken to be in their order.

    Raises:
        DataError: They don't fit.
    """
    if named:
        return images.with_classes(labels)
    if len(images.classes) != len(labels):
        raise DataError(
            f"the images have {len(images.classes)} classes, the model {len(labels)} outputs without names",
            hint="name them: torchgraft.adapt(model, num_classes=…, labels=[…])",
        )
    return images
