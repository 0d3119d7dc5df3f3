"""`torchgraft plan`: would these weights fit that model, and how. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from torchgraft.cli.options import everything, matching_options, output_options
from torchgraft.cli.output import Output

__all__ = ["plan"]


@click.command()
@click.argument("model")
@click.argument("checkpoint")
@matching_options
@everything
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Keep the plan as JSON.")
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it as a script that needs PyTorch only.",
)
@output_options
def plan(
    model: str,
    checkpoint: str,
    everything: bool,
    save: Path | None,
    python: Path | None,
    output: Output,
    **options: Any,
) -> int:
    """Show what would happen to every tensor, and why. Exits with 5 if the gate would refuse.

    MODEL is torchvision/NAME, timm/NAME or module:callable.

    \b
    torchgraft plan timm/tf_efficientnet_lite0 efficientnet_lite0.pth
    torchgraft plan timm/resnet18 resnet18.pth --in-channels 4 --num-classes 21
    torchgraft plan my_net:build old.pth --rename teacher.= --allow-fresh head
    torchgraft plan my_net:build old.pth --save plan.json --python convert.py
    torchgraft plan my_net:build old.pth --html plan.html
    """
    from torchgraft.cli.planned import make_plan
    from torchgraft.report.terminal import plan_view
    from torchgraft.storage.atomic import write_text_atomic

    planned = make_plan(model, checkpoint, seed=0, **options)
    if save is not None:
        planned.plan.save(save)
    if python is not None:
        write_text_atomic(python, planned.plan.python())
    output.result(plan_view(planned.plan, all=everything), planned.data)
    planned.write_page(output)
    return 5 if planned.plan.undeclared else 0
