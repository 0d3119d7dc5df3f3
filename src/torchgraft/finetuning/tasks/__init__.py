"""Kinds of truth that a model can learn: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

from torchgraft.errors import TrainingError

if TYPE_CHECKING:
    from torchgraft.finetuning.images.image_set import Images
    from torchgraft.finetuning.tasks.task import Task

__all__ = ["TASKS", "task_named", "task_of", "task_to_measure"]

TASKS: dict[str, str] = {
    "classes": "torchgraft.finetuning.tasks.classes:Classes",
    "multi-label": "torchgraft.finetuning.tasks.multi_label:MultiLabel",
    "regression": "torchgraft.finetuning.tasks.regression:Regression",
    "segmentation": "torchgraft.finetuning.tasks.segmentation:Segmentation",
}
"""Name → `module:class`, imported when it is asked for."""


def task_named(name: str) -> type[Task]:
    """The class of the task of this name.

    Raises:
        TrainingError: There is none; the message lists those there are.
    """
    if name not in TASKS:
        raise TrainingError(f"there is no task {name!r}", hint=f"tasks: {', '.join(TASKS)}")
    module, _, class_name = TASKS[name].partition(":")
    return cast("type[Task]", getattr(import_module(module), class_name))


def task_of(images: Images) -> Task:
    """The task of learning what these images, the training images, say."""
    return task_named(images.task).of(images)


def task_to_measure(images: Images, *, top: Sequence[int], threshold: float) -> Task:
    """The task of these images for a model that is done learning; see `evaluate`."""
    from torchgraft.finetuning.tasks.classes import Classes
    from torchgraft.finetuning.tasks.multi_label import MultiLabel
    from torchgraft.finetuning.tasks.regression import Regression

    if images.task == Classes.name:
        return Classes(tuple(top))
    if images.task == MultiLabel.name:
        return MultiLabel(len(images.classes), threshold)
    if images.task == Regression.name:
        return Regression(images.classes)
    return task_of(images)
