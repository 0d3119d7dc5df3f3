"""`torchgraft graft`: put weights into a model and save it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from torchgraft.cli.options import everything, matching_options, out, output_options, seed
from torchgraft.cli.output import Output

__all__ = ["graft"]


@click.command()
@click.argument("model")
@click.argument("checkpoint")
@out("Where the model goes: a folder, a .safetensors or a .pth file.")
@matching_options
@everything
@seed
@output_options
def graft(
    model: str, checkpoint: str, out: Path, everything: bool, seed: int, output: Output, **options: Any
) -> int:
    """Put a checkpoint's weights into a model, all or nothing, and save the model.

    MODEL is torchvision/NAME, timm/NAME or module:callable. Saved in a folder, the model can be
    rebuilt with torchgraft.load.

    \b
    torchgraft graft timm/tf_efficientnet_lite0 efficientnet_lite0.pth -o lite0/
    torchgraft graft torchvision/resnet18 resnet18.pth --num-classes 21 -o new.pth
    """
    from dataclasses import replace

    import torchgraft as tg
    from torchgraft.cli.planned import make_plan
    from torchgraft.model_info import attach_info, info_of
    from torchgraft.report.terminal import plan_view

    planned = make_plan(model, checkpoint, seed=seed, **options)
    planned.write_page(output)
    if planned.plan.undeclared and not output.json:
        output.remark(plan_view(planned.plan, all=everything))
        return 5
    report = planned.plan.apply()
    attach_info(report.model, replace(info_of(report.model), weights=planned.plan.provenance))
    saved = tg.save(report.model, out)
    output.result(
        plan_view(planned.plan, all=everything),
        lambda: {**planned.data(), "saved": str(saved), "seconds": report.seconds},
    )
    output.remark(f"saved in {saved}")
    return 0
