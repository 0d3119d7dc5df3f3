"""`finetune`: data, model and recipe put together, and what comes of it written down."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.finetuning.arguments import check_arguments
from torchgraft.finetuning.events import Event, OnEvent
from torchgraft.finetuning.images.readable import Unreadable
from torchgraft.finetuning.images.sources import Data
from torchgraft.finetuning.recipes import recipe_named
from torchgraft.finetuning.reporting import Reporting, recorded, timed
from torchgraft.finetuning.requirements import require
from torchgraft.finetuning.result import FinetuneResult
from torchgraft.finetuning.run_folder import RunFolder
from torchgraft.model_info import Preprocessing, info_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["finetune"]


def finetune(
    model: nn.Module,
    data: Data,
    *,
    recipe: str = "linear-probe",
    val: Data | float = 0.2,
    epochs: int | None = None,
    batch_size: int = 32,
    lr: float | None = None,
    weight_decay: float | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    preprocessing: Preprocessing | None = None,
    patience: int | None = None,
    unreadable: Unreadable = "error",
    workers: int = 0,
    max_steps: int | None = None,
    on_event: OnEvent | None = None,
    feature_cache: str | os.PathLike[str] | None = None,
    **options: Any,
) -> FinetuneResult:
    """Teach a model the classes of some images.

    Args:
        model: Trained in place. If it has other classes, its head is replaced (`torchgraft.adapt`).
        data: A folder with one subfolder a class, or with `train/` and `val/` of such; `(images,
            labels)`; a PyTorch dataset of (image, label).
        recipe: `"linear-probe"` trains the head on features that are computed once; `"full"` all.
        val: Share of each class's images to validate on, or data of its own.
        epochs: Passes over the training images; the recipe has a number of its own, as for `lr`
            and `weight_decay`.
        batch_size: Images a step.
        seed: Same seed, same machine, same result.
        out: A folder for the best model, `config.json`, `history.json` and `metrics.json`.
        overwrite: Whether an earlier run in `out` may be replaced.
        preprocessing: How an image becomes an input, if not as the model remembers.
        patience: Stop after so many epochs without a better one.
        unreadable: `"skip"` leaves out images that can't be read, and says so.
        workers: Processes that read images.
        max_steps: Stop after so many steps.
        on_event: Called with every sign of progress.
        feature_cache: A folder where a linear probe keeps its features for other runs.
        **options: The recipe's own; see `recipes/`.

    Raises:
        DataError: The images or labels can't be used.
        TrainingError: An argument makes no sense, or the loss stopped being a number.
        AnatomyError: The model's head can't be told.
        SaveError: `out` can't be used, or writing failed.
        MissingDependencyError: accelerate, scikit-learn, pillow or torchvision is absent.
    """
    arguments: dict[str, Any] = {
        "recipe": recipe,
        "val": val if isinstance(val, (int, float, str)) else type(val).__name__,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "seed": seed,
        "patience": patience,
        "unreadable": unreadable,
        "workers": workers,
        "max_steps": max_steps,
        **options,
    }
    check_arguments(arguments)
    require("PIL", "sklearn", "accelerate")
    chosen = recipe_named(recipe, options)
    from torchgraft.finetuning.engine import Engine
    from torchgraft.finetuning.job import Job
    from torchgraft.finetuning.learning_data import learning_data
    from torchgraft.finetuning.seeding import seeded
    from torchgraft.finetuning.subject import prepare_model, preprocessing_of

    began = time.monotonic()
    emit = timed(on_event, began)
    engine = Engine()
    folder = RunFolder(Path(out), overwrite=overwrite) if out is not None and engine.main else None
    how = preprocessing_of(model, preprocessing)
    found = learning_data(
        data,
        val,
        known=info_of(model).labels,
        seed=seed,
        channels=how.channels,
        unreadable=unreadable,
        progress=lambda step, total: emit(Event("reading", step, total)),
    )
    with seeded(seed), recorded(folder), engine.released(model):
        subject = prepare_model(model, found.train.classes, how)
        found = found.with_classes(subject.classes)
        if folder is not None:
            folder.start(
                {
                    "arguments": arguments,
                    "data": str(data) if isinstance(data, (str, os.PathLike)) else type(data).__name__,
                    "counts": found.counts(),
                    "skipped": list(found.skipped),
                    "classes": list(subject.classes),
                    "preprocessing": how.to_json(),
                    "adapted": subject.adapted,
                }
            )
        reporting = Reporting(model, folder, emit, found, subject.classes)
        job = Job(
            model=model.to(engine.device),
            heads=subject.heads,
            train=found.train,
            val=found.val,
            preprocessing=how,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            seed=seed,
            patience=patience,
            workers=workers,
            max_steps=max_steps,
            feature_cache=Path(feature_cache) if feature_cache is not None else None,
            engine=engine,
            emit=emit,
            on_epoch=reporting.epoch,
            on_best=reporting.best,
        )
        trained = chosen.train(job)
        model.eval()
        result = FinetuneResult(
            model=model,
            recipe=recipe,
            classes=subject.classes,
            history=trained.history,
            best_epoch=trained.best_epoch,
            evaluation=reporting.evaluation(trained.probabilities),
            counts=found.counts(),
            skipped=found.skipped,
            adapted=subject.adapted,
            notes=tuple(trained.notes),
            trainable=trained.trainable,
            total=sum(p.numel() for p in model.parameters()),
            seconds=time.monotonic() - began,
            out=Path(out) if out is not None else None,
        )
        if folder is not None:
            folder.end(
                "finished", settings=trained.settings, notes=list(trained.notes), seconds=result.seconds
            )
        engine.wait()
    return result
