"""What a recipe is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torchgraft.finetuning.events import Event, Step
from torchgraft.finetuning.fitting.options import Fitting
from torchgraft.finetuning.result import Epoch
from torchgraft.finetuning.resuming.progress import Progress
from torchgraft.model_info import Preprocessing

if TYPE_CHECKING:
    import torch
    from torch import nn

    from torchgraft.finetuning.engine import Engine
    from torchgraft.finetuning.fitting.lr_sweep import Sweep
    from torchgraft.finetuning.group_table import GroupRow
    from torchgraft.finetuning.images.image_set import Images
    from torchgraft.finetuning.tasks.task import Task

__all__ = ["Job", "Recipe", "Trained"]


@dataclass(frozen=True, slots=True)
class Job:
    """All that a recipe needs to know.

    Attributes:
        model: To be trained in place; on the engine's device.
        heads: Module paths of its classifiers.
        train: Images to learn from.
        val: Images to choose the best epoch by.
        preprocessing: How an image becomes the model's input.
        epochs: As many as the user wants; `None` for the recipe's own number. Likewise `lr` and
            `weight_decay`.
        batch_size: Images a step.
        seed: Of everything that is random.
        patience: Stop after so many epochs without a better one; `None`: never.
        workers: Processes that read images; `None`: as suits the machine.
        max_steps: Stop after so many steps of the optimizer; `None`: never.
        feature_cache: A folder for features that another run may need again.
        task: What is learned, and how it is measured.
        fitting: Options of the training loop.
        engine: Runs the steps.
        emit: Reports progress.
        on_epoch: To be called after each epoch, with the number of epochs there will be at most.
        on_best: To be called when the model holds weights that are worth saving, with the
            task's outcomes (a row an image) that they give for `val`.
        after: What an earlier phase of the same recipe did to the model; its history goes on.
        progress: Counts the phases, and makes each go on where an interrupted run was.
        on_step: To be called after each step of the optimizer.
        sweep: Instead of training, learning rates are tried (`find_lr`).
    """

    model: nn.Module
    heads: tuple[str, ...]
    train: Images
    val: Images
    preprocessing: Preprocessing
    epochs: int | None
    batch_size: int
    lr: float | None
    weight_decay: float | None
    seed: int
    patience: int | None
    workers: int | None
    max_steps: int | None
    feature_cache: Path | None
    task: Task
    fitting: Fitting
    engine: Engine
    emit: Callable[[Event], None]
    on_epoch: Callable[[Epoch, int], None]
    on_best: Callable[[int, torch.Tensor], None]
    after: Trained | None = None
    progress: Progress = field(default_factory=Progress)
    on_step: Callable[[Step], object] = lambda _: None
    sweep: Sweep | None = None

    def head_parameters(self) -> list[nn.Parameter]:
        """Of all heads, each once."""
        found = (p for path in self.heads for p in self.model.get_submodule(path).parameters())
        return list(dict.fromkeys(found))

    def with_defaults(self, *, epochs: int, lr: float, weight_decay: float) -> Job:
        """The job with a recipe's numbers where the user gave none."""
        return replace(
            self,
            epochs=self.epochs if self.epochs is not None else epochs,
            lr=self.lr if self.lr is not None else lr,
            weight_decay=self.weight_decay if self.weight_decay is not None else weight_decay,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a recipe did.

    Attributes:
        history: Every epoch.
        best_epoch: The one whose weights the model has now, from 1.
        outcomes: The task's, a row a validation image, of those weights.
        trainable: Number of parameters that were trained.
        settings: The numbers it went by, for the run folder.
        notes: Whatever the user should know.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    outcomes: torch.Tensor
    trainable: int
    settings: dict[str, Any]
    notes: Sequence[str] = ()


class Recipe(Protocol):
    """A way of fine-tuning: a frozen dataclass whose fields are its options.

    A class attribute `loop_options` names those of `Fitting` that it can use; all of them if it has none,
    or if it is `None`.
    """

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """What would learn and how fast; nothing is trained or changed."""
        ...

    def train(self, job: Job) -> Trained:
        """Train `job.model` in place and leave it with the best epoch's weights."""
        ...
