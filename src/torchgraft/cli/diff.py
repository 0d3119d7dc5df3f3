"""`torchgraft diff`: what two checkpoints have in common, and what not."""

from __future__ import annotations

import click

from torchgraft.cli.options import everything, output_options, select
from torchgraft.cli.output import Output

__all__ = ["diff"]


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--values", is_flag=True, help="Compare the values too: the largest differences, or none.")
@select
@everything
@output_options
def diff(a: str, b: str, values: bool, select: str | None, everything: bool, output: Output) -> int:
    """Compare names, shapes and dtypes of two checkpoints, of whatever formats. Exits with 10 if they differ.

    Reads headers only, and needs no PyTorch, unless --values is given.

    \b
    torchgraft diff old.pth new.safetensors
    torchgraft diff old.pth new.safetensors --values
    torchgraft diff run1/ run2/ --values --json
    """
    import torchgraft as tg
    from torchgraft.report.terminal import diff_view

    found = tg.diff(a, b, values=values, select=select)
    output.result(diff_view(found, all=everything), found.to_json)
    return 0 if found.equal else 10
