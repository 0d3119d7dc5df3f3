"""`torchgraft evaluate`: how well a model does on labelled images."""

from __future__ import annotations

import click
from rich.console import Group, RenderableType
from rich.text import Text

from torchgraft.cli.options import batch_size, output_options, skip_unreadable, task, weights, workers
from torchgraft.cli.output import Output
from torchgraft.cli.scores import scores_view

__all__ = ["evaluate"]


@click.command()
@click.argument("model")
@click.argument("data")
@task
@click.option(
    "--top",
    type=click.IntRange(1),
    default=(5,),
    show_default="5",
    multiple=True,
    help="How often is the class among so many guesses? Repeatable.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Of several classes an image: from which probability one counts.",
)
@click.option(
    "--mistakes",
    type=click.IntRange(0, 24),
    default=5,
    show_default=True,
    help="How many of the worst answers to list.",
)
@weights
@batch_size
@workers
@skip_unreadable
@output_options
def evaluate(
    model: str,
    data: str,
    task: str | None,
    top: tuple[int, ...],
    threshold: float,
    mistakes: int,
    weights: str,
    builder: str | None,
    batch_size: int,
    workers: int,
    skip_unreadable: bool,
    output: Output,
) -> None:
    """Measure MODEL on DATA, such as a folder with one subfolder a class, or a table: see finetune.

    Accuracy, confusion matrix and the worst answers; or what else its task is measured by.

    \b
    torchgraft evaluate run/ photos/test
    torchgraft evaluate timm/resnet18 imagenet_val/ --json
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.cli.training_progress import TrainingProgress
    from torchgraft.finetuning.processes.launching import main_first
    from torchgraft.report.terminal import mistakes_view, parts_view

    with main_first():
        measured = trained_model(model, weights=weights, builder=builder)
    with TrainingProgress(output) as progress:
        found = tg.evaluate(
            measured,
            data,
            share=True,
            task=task,
            top=top,
            threshold=threshold,
            batch_size=batch_size,
            workers=workers,
            unreadable="skip" if skip_unreadable else "error",
            on_event=progress,
        )
    told = found.to_json()
    shown: list[RenderableType] = [
        scores_view(found),
        Text(""),
        parts_view(told["per_class"])
        if "per_class" in told
        else parts_view(told["per_target"], kind="number"),
    ]
    if told["groups"]:
        main = list(found.metrics())[:3]
        rows = [{name: group.get(name) for name in ("name", *main, "count")} for group in told["groups"]]
        shown += [Text(""), parts_view(rows, kind="group")]
    if mistakes and told["mistakes"]:
        shown += [Text(""), mistakes_view(told["mistakes"][:mistakes])]
    output.result(Group(*shown), lambda: told)
    for name in found.skipped:
        output.remark(f"skipped: {name}")
