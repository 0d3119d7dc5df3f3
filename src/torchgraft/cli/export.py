"""`torchgraft export`: a model in the form that another program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click
from rich.text import Text

from torchgraft.cli.choice import Choice
from torchgraft.cli.options import out, output_options, weights
from torchgraft.cli.output import Output

__all__ = ["export"]

_FORMATS = ("timm", "transformers", "torchvision", "onnx", "torch.export", "card")
_LISTS = ("datasets", "tags", "language", "metrics")


def _card(_context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, object]:
    """`{"license": "mit"}` of `license=mit`; a list where the front matter has one: `tags=cells,solar`."""
    found: dict[str, object] = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key or not value:
            raise click.BadParameter(f"{text!r} is not {option.metavar}, such as license=mit", param=option)
        found[key] = value.split(",") if key in _LISTS else value
    return found


@click.command()
@click.argument("model")
@out("Where it goes: a folder, or a file that ends in .pth, .onnx, .pt2, .md.")
@click.option("--format", type=Choice(_FORMATS), help="What to write, where the name does not say.")
@click.option("--like", metavar="CHECKPOINT", help="In this checkpoint's own names and kind of file.")
@click.option("--plan", type=click.Path(path_type=Path), help="The plan that filled it; also for the card.")
@click.option(
    "--sizes",
    type=Choice(["model", "checkpoint"]),
    default="model",
    show_default=True,
    help="With --like: whose sizes a changed head or stem has.",
)
@click.option("--hash-name", is_flag=True, help="Put the SHA-256's first digits into a .pth file's name.")
@click.option("--inputs", metavar="FILE", help="An input to trace it with, where none can be guessed.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-4,
    show_default=True,
    help="How far the outputs of ONNX may be off, in proportion to the largest.",
)
@click.option("--opset", type=click.IntRange(1), help="Of ONNX.")
@click.option("--run", type=click.Path(path_type=Path), help="The run whose metrics the card shows.")
@click.option(
    "--card",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_card,
    help="An entry of the card's front matter: license=mit, datasets=a,b. Repeatable.",
)
@weights
@output_options
def export(
    model: str,
    out: Path,
    like: str | None,
    plan: Path | None,
    sizes: str,
    weights: str,
    builder: str | None,
    output: Output,
    **options: Any,
) -> None:
    """Write a model for another program. It is read back and compared before it is put in place.

    MODEL is a saved folder, a run folder, or torchvision/NAME, timm/NAME, module:callable. A folder goes out
    in the form of the library that built the model.

    \b
    torchgraft export run/ -o solar/ --card license=mit --card datasets=elpv
    torchgraft export run/ -o solar.onnx
    torchgraft export run/ -o resnet18.pth --hash-name
    torchgraft export run/ -o theirs.pth --like resnet18.pth
    """
    import torchgraft as tg
    from torchgraft.cli.models import trained_model
    from torchgraft.report.safe_text import clean

    kept = tg.Plan.load(plan) if plan is not None else None
    if options["run"] is None and (Path(model) / "metrics.json").is_file():
        options["run"] = Path(model)
    trained = trained_model(model, weights=weights, builder=builder)
    if like is not None:
        whose: Literal["model", "checkpoint"] = "model" if sizes == "model" else "checkpoint"
        saved = tg.save(trained, out, like=like, plan=kept, sizes=whose)
        output.result(Text(clean(str(saved))), lambda: {"path": str(saved), "like": like})
        return
    exported = tg.export(trained, out, plan=kept, **options)
    output.result(
        Text(f"{clean(str(exported.path))}: {exported.format}, {exported.checked}"), exported.to_json
    )
    for note in exported.notes:
        output.remark(f"note: {clean(note, limit=2000)}")
