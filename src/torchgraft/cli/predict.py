"""`torchgraft predict`: what a model sees in some images."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from torchgraft.cli.image_progress import images_counted
from torchgraft.cli.options import batch_size, out, output_options, skip_unreadable, task, weights, workers
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from torchgraft.finetuning import Prediction

__all__ = ["predict"]


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@out("Write them to a .csv, .json or .jsonl file instead, one after the other.", required=False)
@click.option("--masks", metavar="FOLDER", help="Of a model of pixels: write each mask as a PNG there.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Guesses an image.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Of several classes an image: from which probability one is given.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Class names, where the model knows none: a line each, or a JSON list.",
)
@task
@weights
@batch_size
@workers
@skip_unreadable
@output_options
def predict(
    model: str,
    images: tuple[str, ...],
    out: Path | None,
    masks: str | None,
    labels: Path | None,
    weights: str,
    builder: str | None,
    skip_unreadable: bool,
    output: Output,
    **options: Any,
) -> None:
    """Say what is in IMAGES by MODEL (a saved folder, or a model by name).

    IMAGES are files, folders, patterns, addresses (https://…, s3://…), or - for a list of them on stdin.

    \b
    torchgraft predict run/ cat.jpg https://example.org/dog.jpg
    torchgraft predict timm/resnet18 photos/ --top 1 --labels imagenet.txt
    torchgraft predict run/ "photos/**/*.jpg" -o guesses.csv
    find . -name "*.png" | torchgraft predict run/ - -o guesses.jsonl
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.finetuning import write_predictions
    from torchgraft.finetuning.predictions.writing import write_masks

    names = tg.read_labels(labels) if labels is not None else None
    asked = trained_model(model, weights=weights, builder=builder)
    if names is not None:
        tg.describe(asked, labels=names)
    found: Iterator[Any] = tg.predict_iter(
        asked, _listed(images), unreadable="skip" if skip_unreadable else "error", **options
    )
    found = images_counted(found, output, "images")
    if masks is not None:
        found = write_masks(found, masks)
    if out is not None:
        count = write_predictions(found, out)
        output.line(f"{count:,} predictions: {out}")
        output.result(None, lambda: {"count": count, "out": str(out), "masks": masks})
        return
    every = list(found)
    output.result(_shown(every), lambda: {"predictions": [one.to_json() for one in every]})


def _listed(images: Sequence[str]) -> Iterator[str]:
    """The arguments, with the lines of stdin for a `-`."""
    for image in images:
        if image == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield image


def _shown(found: Sequence[Any]) -> RenderableType:
    from torchgraft.finetuning import MaskPrediction, NumbersPrediction
    from torchgraft.report.terminal import Guesses, numbers_view, predictions_view

    if not found or not isinstance(found[0], (MaskPrediction, NumbersPrediction)):
        return predictions_view([Guesses(one.name, _pairs(one)) for one in found])
    rows: list[tuple[str, Mapping[str, float]]] = [
        (one.name, one.shares if isinstance(one, MaskPrediction) else one.values) for one in found
    ]
    return numbers_view(rows, shares=isinstance(found[0], MaskPrediction))


def _pairs(one: Prediction) -> tuple[tuple[str, float], ...]:
    return tuple(zip(one.labels, one.probabilities, strict=True)) or (("none", 0.0),)
