"""`torchgraft inspect`: what is in a checkpoint. Reads its header only, runs nothing, needs no PyTorch."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchgraft.cli.options import everything, html, output_options, select
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from torchgraft.checkpoint import Checkpoint
    from torchgraft.measuring import TensorStats

__all__ = ["inspect"]


@click.command()
@click.argument("file")
@click.option(
    "--values", is_flag=True, help="Read the values too: NaN, dead, constant and duplicated tensors."
)
@select
@everything
@html
@output_options
def inspect(
    file: str, values: bool, select: str | None, everything: bool, html: Path | None, output: Output
) -> None:
    """Show what a checkpoint holds: format, parts, tensors. Runs no code from the file.

    Reads its header only, and needs no PyTorch, unless --values is given.

    \b
    torchgraft inspect resnet152.pth
    torchgraft inspect training_run.pt --select model_ema
    torchgraft inspect weights.safetensors --json
    torchgraft inspect weights.safetensors --values --html weights.html
    torchgraft inspect https://example.org/resnet50.safetensors
    """
    from torchgraft import checkpoint
    from torchgraft.report.terminal import checkpoint_view

    collecting = gc.isenabled()
    gc.disable()
    try:
        opened = checkpoint.open(file, select=select)
        gc.freeze()  # a large checkpoint's objects stay to the end: there is nothing to collect among them
    finally:
        if collecting:
            gc.enable()
    stats = _measured(opened, output) if values else None
    report = {} if html is None else {"report": str(html)}
    shown = checkpoint_view(opened, all=everything, stats=stats)
    output.result(shown, lambda: {**_data(opened, stats or {}), **report})
    if html is not None:
        from torchgraft.cli.pages import written
        from torchgraft.report.page import checkpoint_page

        written(checkpoint_page(opened, stats=stats), html, output)


def _measured(opened: Checkpoint, output: Output) -> Mapping[str, TensorStats]:
    from torchgraft.cli.byte_progress import byte_progress
    from torchgraft.measuring import measure

    with byte_progress(output, "measuring") as on_bytes:
        return measure(opened, on_bytes=on_bytes)


def _data(opened: Checkpoint, stats: Mapping[str, TensorStats]) -> dict[str, object]:
    return {
        "file": opened.name,
        "format": opened.format,
        "part": opened.part,
        "why": opened.why,
        "parts": opened.parts,
        "classes": opened.classes,
        "metadata": opened.metadata,
        "tensors": [
            {
                "name": ref.name,
                "shape": ref.shape,
                "dtype": ref.dtype,
                "nbytes": ref.nbytes,
                "layout": ref.layout,
                **({"values": stats[ref.name]} if ref.name in stats else {}),
            }
            for ref in opened.values()
        ],
    }
