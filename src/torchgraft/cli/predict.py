"""`torchgraft predict`: what a model sees in some images."""

from __future__ import annotations

from pathlib import Path

import click

from torchgraft.cli.options import batch_size, output_options, weights
from torchgraft.cli.output import Output

__all__ = ["predict"]


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Guesses an image.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Class names, where the model knows none: a line each, or a JSON list.",
)
@weights
@batch_size
@output_options
def predict(
    model: str,
    images: tuple[str, ...],
    top: int,
    labels: Path | None,
    weights: str,
    builder: str | None,
    batch_size: int,
    output: Output,
) -> None:
    """Name what is in IMAGES (files or folders) by MODEL (a saved folder, or a model by name).

    \b
    torchgraft predict run/ cat.jpg
    torchgraft predict timm/resnet18 photos/ --top 1 --labels imagenet.txt
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.report.terminal import Guesses, predictions_view

    names = tg.read_labels(labels) if labels is not None else None
    asked = trained_model(model, weights=weights, builder=builder)
    if names is not None:
        tg.describe(asked, labels=names)
    found = tg.predict(asked, list(images), top=top, batch_size=batch_size)
    output.result(
        predictions_view(
            [Guesses(one.name, tuple(zip(one.labels, one.probabilities, strict=True))) for one in found]
        ),
        lambda: {"predictions": [one.to_json() for one in found]},
    )
