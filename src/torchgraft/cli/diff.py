"""`torchgraft diff`: what two checkpoints have in common, and what not."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from torchgraft.cli.byte_progress import byte_progress
from torchgraft.cli.options import everything, html, output_options, select
from torchgraft.cli.output import Output

__all__ = ["diff"]


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--values", is_flag=True, help="Compare the values too: the largest differences, or none.")
@select
@everything
@html
@output_options
def diff(
    a: str, b: str, values: bool, select: str | None, everything: bool, html: Path | None, output: Output
) -> int:
    """Compare names, shapes and dtypes of two checkpoints, of whatever formats. Exits with 10 if they differ.

    Reads headers only, and needs no PyTorch, unless --values is given.

    \b
    torchgraft diff old.pth new.safetensors
    torchgraft diff old.pth new.safetensors --values
    torchgraft diff run1/ run2/ --values --json
    torchgraft diff pretrained.pth finetuned.pth --values --html moved.html
    """
    import torchgraft as tg
    from torchgraft.report.terminal import diff_view

    with byte_progress(output, "comparing") if values else nullcontext() as on_bytes:
        found = tg.diff(a, b, values=values, select=select, on_bytes=on_bytes)
    report = {} if html is None else {"report": str(html)}
    output.result(diff_view(found, all=everything), lambda: {**found.to_json(), **report})
    if html is not None:
        from torchgraft.cli.pages import written
        from torchgraft.report.page import diff_page

        written(diff_page(found), html, output)
    return 0 if found.equal else 10
