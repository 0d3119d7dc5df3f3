"""`torchgraft restore`: a fine-tuned model's weights in the names of the checkpoint that it came from."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from torchgraft.cli.options import out, output_options, select
from torchgraft.cli.output import Output

__all__ = ["restore"]


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.argument("weights")
@out("Where the weights go: a .safetensors or a .pth file.")
@click.option("--base", metavar="CHECKPOINT", help="The checkpoint, for what the model does not hold.")
@select
@output_options
def restore(
    plan: Path, weights: str, out: Path, base: str | None, select: str | None, output: Output
) -> None:
    """Write a model's weights in the names, shapes and dtypes of the checkpoint that they came from.

    PLAN is what `plan --save` kept. WEIGHTS is a file or folder of the model that the plan filled, most
    likely trained since. What it has nothing for comes from --base, or is left out; either is remarked on.

    \b
    torchgraft restore plan.json run/model -o theirs.pth --base resnet18.pth
    """
    import torchgraft as tg
    from torchgraft.report.quantities import plural
    from torchgraft.report.safe_text import clean

    kept = tg.Plan.load(plan)
    origin = None if base is None else tg.open(base, select=select)
    restored = kept.restore(tg.open(weights), base=origin)
    saved = tg.save(restored, out)
    output.result(
        Text(f"{clean(str(saved))}: {plural(len(restored), 'tensor')}"),
        lambda: {"saved": str(saved), "tensors": len(restored), "notes": list(restored.notes)},
    )
    for note in restored.notes:
        output.remark(f"note: {clean(note, limit=2000)}")
