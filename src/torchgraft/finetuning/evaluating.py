"""`evaluate`: how well a model does on images of which the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from torchgraft.errors import DataError
from torchgraft.finetuning.evaluations.group_score import GroupScore
from torchgraft.finetuning.events import Event, OnEvent
from torchgraft.finetuning.images.readable import Once, Unreadable, keep_readable
from torchgraft.finetuning.images.sources import Data, parts_of
from torchgraft.finetuning.processes.launched import process_count
from torchgraft.finetuning.requirements import require
from torchgraft.model_info import Preprocessing, info_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from torchgraft.finetuning.engine import Engine
    from torchgraft.finetuning.evaluations.evaluation import AnyEvaluation
    from torchgraft.finetuning.images.image_set import Images
    from torchgraft.finetuning.tasks.task import Task

__all__ = ["evaluate"]

_MOST_GROUPS = 1000


def evaluate(
    model: nn.Module,
    data: Data,
    *,
    task: str | None = None,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 32,
    workers: int = 0,
    top: int | Sequence[int] = 5,
    threshold: float = 0.5,
    unreadable: Unreadable = "error",
    share: bool = False,
    on_event: OnEvent | None = None,
) -> AnyEvaluation:
    """Compare a model's predictions with the truth.

    Classes are found by name: the data may hold some of the model's classes, in any order. Labels
    that are numbers are positions in the model's outputs. Of a folder that is split, `test/` is
    taken if it is there, else `val/`.

    Where the data has groups, each of the 1,000 largest is measured by itself, too.

    Args:
        model: Runs where it is, in evaluation mode, and is left in the mode it was in.
        data: As for `finetune`.
        task: What the labels are, as for `finetune`; `None`: what the model has learned, else by their looks.
        preprocessing: How an image becomes an input, if not as the model remembers.
        batch_size: Images at a time.
        workers: Processes that read images.
        top: For one class an image: how often is it among so many guesses? One number or several.
        threshold: For several classes: the probability from which a class counts as predicted.
        unreadable: `"skip"` leaves out images that can't be read; they are named in the result.
        share: Where `torchrun` or the like started several processes, each does a part, and all get the
            whole result; all of them have to call it. Otherwise each does everything.
        on_event: Called with every sign of progress: `reading` and `validating`.

    Returns:
        `Evaluation` of images with one class each, `MultiLabelEvaluation`, `RegressionEvaluation` or
        `SegmentationEvaluation`.

    Raises:
        DataError: The images or labels can't be used, or have classes that the model doesn't know.
        TrainingError: The model's outputs are none of this task, or no finite numbers.
    """
    require("PIL", "sklearn")
    from torchgraft.finetuning.inputs.batches import Inputs, batches
    from torchgraft.finetuning.scoring import device_of, score
    from torchgraft.finetuning.subject import align, labels_of, outputs_of, preprocessing_of
    from torchgraft.finetuning.tasks import task_to_measure

    tops = (top,) if isinstance(top, int) else tuple(top)
    if any(isinstance(k, bool) or k < 1 for k in tops):
        raise DataError(f"top={top!r} is not a number of guesses")
    if not 0 < threshold < 1:
        raise DataError(f"threshold={threshold} is not a probability between 0 and 1")
    engine = _engine(model) if share and process_count() > 1 else None
    with engine.together() if engine is not None else nullcontext():
        how = preprocessing_of(model, preprocessing)
        info = info_of(model)
        labels = labels_of(model, outputs_of(model, how))
        parts = parts_of(data, known=labels, complete=False, task=task or info.task)
        images = next(parts[name] for name in ("test", "val", "all") if name in parts)
        images = align(images, labels, named=info.labels is not None)
        once: Once = engine.first if engine is not None else lambda find: find()
        emit: OnEvent = on_event or (lambda _: None)
        images, skipped = keep_readable(
            images,
            channels=how.channels,
            unreadable=unreadable,
            progress=lambda done, total: emit(Event("reading", done, total)),
            once=once,
        )
        asked = task_to_measure(images, top=tops, threshold=threshold)
    loader: Any = batches(Inputs(images, how, target=asked.target), batch_size=batch_size, workers=workers)
    outcomes = score(
        model,
        loader if engine is None else engine.loader(loader),
        lambda output, targets: asked.outcome(asked.outputs(output).float(), targets),
        device=device_of(model),
        gather=engine.gather if engine is not None else lambda rows: rows,
        progress=lambda done: emit(Event("validating", min(done, len(images)), len(images))),
    )
    found = asked.measure(outcomes, images, labels, skipped=skipped)
    if not images.groups:
        return found
    scores = _by_group(asked, outcomes, images, labels)
    return cast("AnyEvaluation", replace(cast("Any", found), groups=scores))


def _by_group(
    asked: Task, outcomes: torch.Tensor, images: Images, labels: tuple[str, ...]
) -> tuple[GroupScore, ...]:
    """The largest groups, in the order of their names."""
    counts = Counter(images.groups).most_common(_MOST_GROUPS)
    found = []
    for name, count in sorted(counts):
        members = [index for index, group in enumerate(images.groups) if group == name]
        part = asked.measure(outcomes[members], images.subset(members), labels)
        found.append(GroupScore(name, count, part.metrics()))
    return tuple(found)


def _engine(model: nn.Module) -> Engine:
    """The model is put on its device."""
    from torchgraft.finetuning.engine import Engine

    engine = Engine()
    model.to(engine.device)
    return engine
