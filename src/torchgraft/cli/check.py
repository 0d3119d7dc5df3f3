"""`torchgraft check`: whether a graft is right, by photos alone or beside the source's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from torchgraft.cli.options import batch_size, output_options
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from torch import nn

__all__ = ["check"]


@click.command()
@click.argument("model")
@click.argument("checkpoint", required=False)
@click.option("--images", metavar="FOLDER", help="Photos; what reaches each BatchNorm is compared.")
@click.option("--reference", metavar="FILE", help="Outputs to compare with, or the source as an ONNX file.")
@click.option("--inputs", metavar="FILE", help="The inputs that those outputs were computed from.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-4,
    show_default=True,
    help="How far outputs may be off, in proportion to the largest.",
)
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="As of plan. Repeatable.")
@click.option("--builder", metavar="MODULE:CALLABLE", help="For a saved folder whose model is your own code.")
@batch_size
@output_options
def check(
    model: str,
    checkpoint: str | None,
    images: str | None,
    reference: str | None,
    inputs: str | None,
    tolerance: float,
    batch_size: int,
    output: Output,
    **options: Any,
) -> int:
    """Check that a model with CHECKPOINT's weights gives what it should. Exits with 11 if not, or if unknown.

    MODEL is torchvision/NAME, timm/NAME or module:callable; or, without CHECKPOINT, a saved folder. With
    --images no reference is needed, but the model must have BatchNorm. Nothing is written.

    \b
    torchgraft check timm/tf_efficientnet_lite0 lite0.pth --images photos/
    torchgraft check my_net:build old.pth --reference out.npy --inputs in.npy
    torchgraft check lite0/ --reference lite0.onnx --json
    """
    import torchgraft as tg

    if images is None and reference is None:
        raise click.UsageError("nothing to check it by: give --images, --reference or both")
    if inputs is not None and reference is None:
        raise click.UsageError("--inputs are those of a --reference")
    checked = _model(model, checkpoint, **options)
    found: dict[str, Any] = {}
    if images is not None:
        found["statistics"] = tg.check_statistics(checked, Path(images), batch_size=batch_size)
    if reference is not None:
        found["outputs"] = tg.verify(checked, reference, inputs=inputs, tolerance=tolerance)
    output.result(
        Text("\n").join(Text(str(one), "" if one.passed else "bold red") for one in found.values()),
        lambda: {name: one.to_json() for name, one in found.items()},
    )
    return 0 if all(one.passed for one in found.values()) else 11


def _model(model: str, checkpoint: str | None, *, rename: tuple[str, ...], builder: str | None) -> nn.Module:
    import torchgraft as tg
    from torchgraft.cli.models import bare_model, trained_model

    if checkpoint is None:
        return trained_model(model, weights="DEFAULT", builder=builder)
    opened = tg.open(checkpoint)
    built = bare_model(model, seed=0, in_channels=None, num_classes=None, labels=None)
    tg.plan(built, opened, rename=list(rename)).apply()
    return built
