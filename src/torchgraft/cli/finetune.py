"""`torchgraft finetune`: train a model on a folder of images, and report how it went."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.text import Text

from torchgraft.cli.options import batch_size, out, output_options, seed, skip_unreadable, weights
from torchgraft.cli.output import Output
from torchgraft.finetuning.recipes import RECIPES

if TYPE_CHECKING:
    from torchgraft.finetuning import FinetuneResult

__all__ = ["finetune"]


@click.command(short_help="Train a model on a folder of images.")
@click.argument("model")
@click.argument("data")
@out("The run folder: the model, its history, report.html.")
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="linear-probe",
    show_default=True,
    help="linear-probe: only the classifier, on features computed once. full: everything.",
)
@click.option(
    "--val",
    default="0.2",
    show_default=True,
    metavar="SHARE|FOLDER",
    help="Images to validate on: a share of DATA, or a folder.",
)
@click.option(
    "--epochs", type=click.IntRange(1), help="Passes over the data; each recipe has its own number."
)
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate, likewise.")
@click.option("--weight-decay", type=click.FloatRange(0), help="Likewise.")
@click.option("--patience", type=click.IntRange(1), help="Stop after so many epochs without a better one.")
@click.option("--max-steps", type=click.IntRange(1), help="Stop after so many steps of the optimizer.")
@click.option(
    "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read images."
)
@click.option("--feature-cache", metavar="FOLDER", help="Keep a linear probe's features for other runs.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the run folder.")
@click.option(
    "--in-channels", type=click.IntRange(1), help="Adapt the model's input to so many channels first."
)
@batch_size
@weights
@seed
@skip_unreadable
@output_options
def finetune(
    model: str,
    data: str,
    out: Path,
    val: str,
    in_channels: int | None,
    weights: str,
    builder: str | None,
    seed: int,
    skip_unreadable: bool,
    output: Output,
    **options: Any,
) -> None:
    """Train MODEL on DATA, a folder with one subfolder a class (or train/ and val/ holding such).

    MODEL is a folder that torchgraft saved, or torchvision/NAME, timm/NAME, module:callable. Its
    classifier is adapted to the folder's classes.

    \b
    torchgraft finetune timm/resnet18 photos/ -o run/
    torchgraft finetune lite0/ photos/ -o run/ --recipe full --epochs 5 --lr 1e-4
    torchgraft finetune lite0/ photos/train --val photos/val -o run/ --json
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.cli.training_progress import TrainingProgress

    start = trained_model(
        model, weights=weights, builder=builder, seed=seed, in_channels=in_channels, for_training=True
    )
    with TrainingProgress(output) as progress:
        result = tg.finetune(
            start,
            data,
            out=out,
            seed=seed,
            on_event=progress,
            unreadable="skip" if skip_unreadable else "error",
            val=_share_or_folder(val),
            **{name: value for name, value in options.items() if value is not None},
        )
    page = _write_page(
        result, out, [("model", model), ("data", data), ("weights", weights), ("seed", str(seed))]
    )
    output.result(_shown(result, page), lambda: {**result.to_json(), "report": str(page)})
    for name in result.skipped:
        output.remark(f"skipped: {name}")


def _share_or_folder(val: str) -> float | str:
    try:
        return float(val)
    except ValueError:
        return val


def _write_page(result: FinetuneResult, out: Path, facts: Sequence[tuple[str, str]]) -> Path:
    import torch

    from torchgraft import __version__
    from torchgraft.report.page import run_page, write_html

    versions = (
        "versions",
        f"torchgraft {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    )
    return write_html(
        run_page(result, title=f"{facts[0][1]} on {facts[1][1]}", facts=(*facts, versions)),
        out / "report.html",
    )


def _shown(result: FinetuneResult, page: Path) -> Group:
    from torchgraft.report.safe_text import clean
    from torchgraft.report.terminal import evaluation_view, history_view

    best = [epoch.epoch for epoch in result.history].index(result.best_epoch)
    scores = result.evaluation
    return Group(
        history_view([epoch.to_json() for epoch in result.history], best=best),
        Text(""),
        evaluation_view(scores.metrics(), labels=scores.classes, confusion=scores.confusion),
        Text(""),
        *(Text(clean(note, limit=1000)) for note in (result.adapted, *result.notes) if note),
        Text(f"run folder: {clean(page.parent)}"),
        Text(f"report: {clean(page)}", style="bold"),
    )
