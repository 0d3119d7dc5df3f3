"""`torchgraft finetune`: train a model on a folder of images, and report how it went."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.text import Text

from torchgraft.cli.options import (
    batch_size,
    out,
    output_options,
    seed,
    skip_unreadable,
    task,
    weights,
)
from torchgraft.cli.output import Output
from torchgraft.cli.run_asked_for import asked_for
from torchgraft.cli.run_report import RunReport
from torchgraft.cli.scores import scores_view
from torchgraft.cli.sections import Sectioned
from torchgraft.cli.training_groups import DryRunError, groups_view
from torchgraft.cli.training_options import (
    SECTIONS,
    loop_options,
    recipe_options,
    run_options,
    schedule_options,
)

if TYPE_CHECKING:
    from torchgraft.finetuning import Epoch, Event, FinetuneResult

__all__ = ["finetune"]


@click.command(cls=Sectioned, sections=SECTIONS)
@click.argument("model", required=False)
@click.argument("data", required=False)
@recipe_options
@schedule_options
@batch_size
@seed
@weights
@click.option(
    "--in-channels", type=click.IntRange(1), help="Adapt the model's input to so many channels first."
)
@click.option(
    "--val",
    default="0.2",
    show_default=True,
    metavar="SHARE|FOLDER",
    help="Images to validate on: a share of DATA, or a folder.",
)
@task
@click.option(
    "--workers", type=click.IntRange(0), help="Processes that read images; else as suits the machine."
)
@skip_unreadable
@loop_options
@out("The run folder: the model, its history, report.html.", required=False)
@run_options
@output_options
@click.pass_context
def finetune(
    context: click.Context,
    /,
    model: str | None,
    data: str | None,
    out: Path | None,
    resume: str | None,
    config: str | None,
    trust: tuple[str, ...],
    dry_run: bool,
    output: Output,
    **given: Any,
) -> None:
    """Train MODEL on DATA, a folder with one subfolder a class (or train/ and val/ holding such).

    MODEL is a folder that torchgraft saved, or torchvision/NAME, timm/NAME, module:callable. Its
    classifier is adapted to the folder's classes. Ctrl-C saves a checkpoint; --resume goes on from it.

    \b
    torchgraft finetune timm/resnet18 photos/ -o run/
    torchgraft finetune lite0/ photos/ -o run/ --recipe full --epochs 5 --lr 1e-4
    torchgraft finetune lite0/ photos/train --val photos/val -o run/ --json
    torchgraft finetune --resume run/
    torchgraft finetune --config run/config.json -o again/
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.cli.training_progress import TrainingProgress
    from torchgraft.finetuning.processes.agreement import StoppedElsewhereError
    from torchgraft.finetuning.processes.launching import main_first

    asked = asked_for(
        context, model=model, data=data, out=out, resume=resume, config=config, trust=trust, given=given
    )
    with main_first():
        start = trained_model(
            **asked.model, seed=asked.arguments.get("seed", given["seed"]), for_training=True
        )
    report = RunReport(asked.out, output)
    with (
        TrainingProgress(output, stop_at_groups=dry_run) as progress,
        nullcontext() if dry_run or output.silent else report,
    ):

        def hear(event: Event) -> None:
            progress(event)
            report(event)

        try:
            result = tg.finetune(
                start,
                asked.data,
                out=None if dry_run else asked.out,
                on_event=hear,
                resume=resume is not None,
                command=asked.command,
                **asked.arguments,
            )
        except DryRunError as ended:
            groups = ended.groups
            output.result(groups_view(groups), lambda: {"groups": [group.to_json() for group in groups]})
            return
        except StoppedElsewhereError:
            if dry_run:
                return
            raise
        except KeyboardInterrupt:
            words = ["--resume", str(asked.out), *(f"--trust={code}" for code in asked.code)]
            output.remark(f"stopped; go on with: torchgraft finetune {shlex.join(words)}")
            raise
    if output.silent:
        return
    output.result(_shown(result, report.page), lambda: {**result.to_json(), "report": str(report.page)})
    for name in result.skipped:
        output.remark(f"skipped: {name}")


def _shown(result: FinetuneResult, page: Path) -> Group:
    from torchgraft.report.safe_text import clean
    from torchgraft.report.terminal import history_view

    best = [epoch.epoch for epoch in result.history].index(result.best_epoch)
    return Group(
        history_view([_row(epoch) for epoch in result.history], best=best),
        Text(""),
        scores_view(result.evaluation),
        Text(""),
        *(Text(clean(note, limit=1000)) for note in (result.adapted, *result.notes) if note),
        Text(f"run folder: {clean(page.parent)}"),
        Text(f"report: {clean(page)}", style="bold"),
    )


def _row(epoch: Epoch) -> dict[str, float | int | None]:
    """What 80 columns hold: the losses, the first two measures, the highest learning rate."""
    measures = [name for name in epoch.val if name != "loss"][:2]
    return {
        "epoch": epoch.epoch,
        "train_loss": epoch.train_loss,
        **{f"val_{name}": epoch.val[name] for name in ("loss", *measures)},
        "lr": max(epoch.lr.values(), default=None),
        "seconds": epoch.seconds,
    }
