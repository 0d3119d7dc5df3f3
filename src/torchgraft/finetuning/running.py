"""`finetune`: data, model and recipe put together, and what comes of it written down."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.finetuning.arguments import check_arguments, noted_arguments
from torchgraft.finetuning.events import Event, OnEvent
from torchgraft.finetuning.images.readable import Unreadable
from torchgraft.finetuning.images.sources import Data
from torchgraft.finetuning.recipes import recipe_name, recipe_named
from torchgraft.finetuning.requirements import require
from torchgraft.finetuning.result import FinetuneResult
from torchgraft.finetuning.runs.reporting import Reporting, recorded, timed
from torchgraft.finetuning.runs.reproducing import beginning
from torchgraft.finetuning.runs.run_folder import RunFolder
from torchgraft.model_info import Preprocessing, info_of

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.finetuning.job import Recipe

__all__ = ["finetune"]


def finetune(
    model: nn.Module,
    data: Data,
    *,
    recipe: str | Recipe = "linear-probe",
    val: Data | float = 0.2,
    epochs: int | None = None,
    batch_size: int = 32,
    lr: float | None = None,
    weight_decay: float | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    preprocessing: Preprocessing | None = None,
    patience: int | None = None,
    unreadable: Unreadable = "error",
    workers: int | None = None,
    max_steps: int | None = None,
    checkpoint_every: int | None = None,
    track: str | Sequence[Any] = (),
    on_event: OnEvent | None = None,
    feature_cache: str | os.PathLike[str] | None = None,
    task: str | None = None,
    command: Mapping[str, Any] | None = None,
    **options: Any,
) -> FinetuneResult:
    """Teach a model the classes of some images.

    Args:
        model: Trained in place. If it has other classes, its head is replaced (`torchgraft.adapt`).
        data: A folder with one subfolder a class, or with `train/` and `val/` of such; a CSV file;
            `(images, labels)`; a dataset of PyTorch or Hugging Face; or `ImageData`, which says more.
        recipe: A name in `torchgraft.finetuning.RECIPES`, `module:Class`, or a recipe. `"linear-probe"`
            trains the head on features that are computed once; `"full"` all.
        val: Share of each class's images to validate on, or data of its own.
        epochs: Passes over the training images; the recipe has a number of its own, as for `lr`
            and `weight_decay`.
        batch_size: Images a step.
        seed: Same seed, same machine, same result.
        out: A folder for the best model, `config.json`, `history.jsonl`, `steps.jsonl`, `metrics.json` and
            checkpoints.
        overwrite: Whether an earlier run in `out` may be replaced.
        resume: Whether an earlier run in `out` goes on where it was interrupted, if there is one: with the
            same model, data and arguments its result is that of a run that never stopped.
        preprocessing: How an image becomes an input, if not as the model remembers.
        patience: Stop after so many epochs without a better one.
        unreadable: `"skip"` leaves out images that can't be read, and says so.
        workers: Processes that read images; `None`: as suits the machine and the number of images.
        max_steps: Stop after so many steps.
        checkpoint_every: Write a checkpoint after every so many steps; `None`: at the end of an epoch and
            every ten minutes, unless that takes more than a twentieth of the time.
        track: Where accelerate also sends losses and measures: `"tensorboard"`, `"wandb"` and others.
        on_event: Called with every sign of progress.
        feature_cache: A folder where a linear probe keeps its features for other runs.
        task: What the labels are: `"classes"`, `"multi-label"`, `"regression"` or `"segmentation"`;
            `None`: by their looks.
        command: What to write into `config.json` of how the run can be asked for again.
        **options: The recipe's own, see `recipes/`, and the training loop's, see `fitting/options.py`.

    Raises:
        DataError: The images or labels can't be used.
        TrainingError: An argument makes no sense, or the loss stopped being a number.
        AnatomyError: The model's head can't be told.
        SaveError: `out` can't be used, or writing failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; if there is `out`, a checkpoint was written.
        MissingDependencyError: accelerate, scikit-learn, pillow or torchvision is absent.
    """
    arguments = {**noted_arguments(locals()), "recipe": recipe_name(recipe)}
    check_arguments(arguments)
    require("PIL", "sklearn", "accelerate")
    chosen, fitting = recipe_named(recipe, options)
    from torchgraft.finetuning.fitting.precision import engine_for
    from torchgraft.finetuning.job import Job
    from torchgraft.finetuning.learning_data import learning_data
    from torchgraft.finetuning.resuming.fingerprints import fingerprints
    from torchgraft.finetuning.resuming.going_on import begin_or_go_on
    from torchgraft.finetuning.resuming.progress import Progress
    from torchgraft.finetuning.runs.tracking import paced, tracked
    from torchgraft.finetuning.seeding import seeded
    from torchgraft.finetuning.subject import prepare_model, preprocessing_of
    from torchgraft.finetuning.tasks import task_of
    from torchgraft.finetuning.tasks.learning import learning

    began = time.monotonic()
    engine = engine_for(fitting)
    emit = timed(on_event if engine.main else None, began)
    with engine.together():
        folder = (
            RunFolder(Path(out), overwrite=overwrite, resume=resume)
            if out is not None and engine.main
            else None
        )
        start = beginning(model, data, val, command)
        how = preprocessing_of(model, preprocessing)
        found = learning_data(
            data,
            val,
            known=info_of(model).labels,
            seed=seed,
            channels=how.channels,
            unreadable=unreadable,
            progress=lambda step, total: emit(Event("reading", step, total)),
            task=task,
            once=engine.first,
        )
    with seeded(seed), recorded(folder), engine.released(), ExitStack() as until_trained:
        with engine.together():
            subject = prepare_model(model, found.train.classes, how, task=found.train.task)
            found = found.with_classes(subject.classes)
            model.to(engine.device)
            learned = until_trained.enter_context(learning(task_of(found.train), model, subject, how))
            progress = Progress(
                folder=Path(out) / "checkpoints" if out is not None else None,
                engine=engine,
                every=checkpoint_every,
                resume=resume,
                seed=seed,
                run=folder,
            )
            begin_or_go_on(
                folder,
                progress,
                {
                    **start,
                    "arguments": arguments,
                    "counts": found.counts(),
                    "skipped": list(found.skipped),
                    "classes": list(subject.classes),
                    "preprocessing": how.to_json(),
                    "adapted": subject.adapted,
                    "fingerprints": fingerprints(found.train, found.val, model) if out is not None else {},
                },
            )
            log = until_trained.enter_context(
                tracked(
                    engine.accelerator, track, Path(out) / "trackers" if out is not None else None, arguments
                )
            )
            reporting = Reporting(
                model,
                folder,
                emit,
                found,
                subject.classes,
                learned,
                subject.heads,
                engine.whole_model,
                log,
                paced(log),
            )
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
                task=learned,
                fitting=fitting,
                engine=engine,
                emit=emit,
                on_epoch=reporting.epoch,
                on_best=reporting.best,
                progress=progress,
                on_step=reporting.step,
            )
            groups = chosen.groups(job) if hasattr(chosen, "groups") else ()
            emit(Event("groups", 0, 0, groups=groups, runs_on=str(engine)))
            if folder is not None:
                folder.note(groups=[row.to_json() for row in groups])
        trained = chosen.train(job)
        engine.spread([*model.parameters(), *model.buffers()])
        until_trained.close()
        model.eval()
        notes = (*found.notes(), *trained.notes)
        result = FinetuneResult(
            model=model,
            recipe=recipe_name(recipe),
            classes=subject.classes,
            history=trained.history,
            best_epoch=trained.best_epoch,
            evaluation=reporting.evaluation(trained.outcomes),
            counts=found.counts(),
            skipped=found.skipped,
            adapted=subject.adapted,
            notes=notes,
            trainable=trained.trainable,
            total=sum(p.numel() for p in model.parameters()),
            seconds=folder.seconds if folder is not None else time.monotonic() - began,
            out=Path(out) if out is not None else None,
            groups=groups,
        )
        whole = engine.whole_model(model)  # of a model in parts no process could run its own alone
        if folder is not None and whole is not None:
            folder.show_mistakes(whole, found.val, result.evaluation, how, result.best_epoch)
            folder.end("finished", settings=trained.settings, notes=list(notes), seconds=result.seconds)
        engine.wait()
    return result
