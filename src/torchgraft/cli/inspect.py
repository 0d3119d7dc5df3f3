"""`torchgraft inspect`: what is in a checkpoint. Reads its header only, runs nothing, needs no PyTorch."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import click

from torchgraft.cli.options import everything, output_options, select
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from torchgraft.checkpoint import Checkpoint

__all__ = ["inspect"]


@click.command()
@click.argument("file")
@select
@everything
@output_options
def inspect(file: str, select: str | None, everything: bool, output: Output) -> None:
    """Show what a checkpoint holds: format, parts, tensors. Runs no code from the file.

    \b
    torchgraft inspect resnet152.pth
    torchgraft inspect training_run.pt --select model_ema
    torchgraft inspect weights.safetensors --json
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
    output.result(checkpoint_view(opened, all=everything), lambda: _data(opened))


def _data(opened: Checkpoint) -> dict[str, object]:
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
            }
            for ref in opened.values()
        ],
    }
