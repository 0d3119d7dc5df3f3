"""`torchgraft evaluate`: how well a model does on labelled images."""

from __future__ import annotations

import click

from torchgraft.cli.options import batch_size, output_options, skip_unreadable, weights
from torchgraft.cli.output import Output

__all__ = ["evaluate"]


@click.command()
@click.argument("model")
@click.argument("data")
@weights
@batch_size
@skip_unreadable
@output_options
def evaluate(
    model: str,
    data: str,
    weights: str,
    builder: str | None,
    batch_size: int,
    skip_unreadable: bool,
    output: Output,
) -> None:
    """Accuracy and confusion matrix of MODEL on DATA, a folder with one subfolder a class.

    \b
    torchgraft evaluate run/ photos/test
    torchgraft evaluate timm/resnet18 imagenet_val/ --json
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.report.terminal import evaluation_view

    found = tg.evaluate(
        trained_model(model, weights=weights, builder=builder),
        data,
        batch_size=batch_size,
        unreadable="skip" if skip_unreadable else "error",
    )
    output.result(
        evaluation_view(found.metrics(), labels=found.classes, confusion=found.confusion), found.to_json
    )
    for name in found.skipped:
        output.remark(f"skipped: {name}")
