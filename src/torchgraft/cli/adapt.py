"""`torchgraft adapt`: another number of input channels or classes, weights kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from torchgraft.cli.options import (
    classifier_options,
    image_size,
    normalisation,
    out,
    output_options,
    seed,
    token_options,
    weights,
)
from torchgraft.cli.output import Output

__all__ = ["adapt"]


@click.command()
@click.argument("model")
@out("Where the model goes: a folder, a .safetensors or a .pth file.")
@classifier_options
@click.option("--vocabulary", type=click.IntRange(1), help="Tokens that the model knows; the first are kept.")
@token_options
@image_size
@normalisation
@click.option("--pad-to-multiple", type=click.IntRange(1), help="Make the vocabulary's rows a multiple.")
@weights
@seed
@output_options
def adapt(model: str, out: Path, labels: Path | None, output: Output, **options: Any) -> None:
    """Give a model other input channels or classes and save it. What can be kept of its weights is kept.

    MODEL is a folder that torchgraft saved, or torchvision/NAME, timm/NAME, module:callable.

    \b
    torchgraft adapt timm/resnet18 --in-channels 4 --num-classes 21 -o rgbn/
    torchgraft adapt timm/vit_tiny_patch16_224 --image-size 384 -o vit_384/
    torchgraft adapt my_bert:build --weights bert.pth --vocabulary 30600 -o new/
    torchgraft adapt lite0/ --in-channels 1 --labels classes.txt -o cells/
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.report.safe_text import clean

    names = tg.read_labels(labels) if labels is not None else None
    sizes = (
        "in_channels",
        "num_classes",
        "vocabulary",
        "tokens",
        "pad_to_multiple",
        "image_size",
        "class_map",
        "normalisation",
    )
    if names is None and all(options[size] is None for size in sizes):
        raise click.UsageError(
            "nothing to adapt: give --in-channels, --num-classes, --labels, --class-map, --image-size, "
            "--normalisation, --vocabulary or --tokens"
        )
    adapted = trained_model(model, labels=names, **options)
    saved = tg.save(adapted, out)
    surgery = tg.info_of(adapted).surgery
    steps = [", ".join(f"{key} {_words(value)}" for key, value in step.items()) for step in surgery]
    output.result(
        Text("\n").join(
            [Text(f"{clean(model)} → {clean(saved)}", "bold"), *(Text(clean(f"  {step}")) for step in steps)]
        ),
        lambda: {"model": model, "surgery": surgery, "saved": str(saved)},
    )


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
