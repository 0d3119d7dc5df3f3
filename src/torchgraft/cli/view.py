"""`torchgraft view`: pages about runs, checkpoints and plans, in the browser or as a file."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from torchgraft.cli.options import output_options
from torchgraft.cli.output import Output

__all__ = ["view"]


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the page, and serve nothing."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any that is free",
    help="Where to serve it on 127.0.0.1.",
)
@click.option("--no-open", is_flag=True, help="Don't open the browser.")
@output_options
def view(paths: tuple[str, ...], out: Path | None, port: int, no_open: bool, output: Output) -> None:
    """Look at a run, several runs, a checkpoint, two checkpoints, or a plan (JSON).

    The page of a run that goes on keeps up with it. It is served on this machine only, at an address that
    nobody can guess; Ctrl-C ends that.

    \b
    torchgraft view run/
    torchgraft view probe/ full/ lora/     compared
    torchgraft view weights.pth
    torchgraft view pretrained.pth finetuned.pth
    torchgraft view plan.json
    torchgraft view run/ -o report.html    one file, complete in itself
    """
    from torchgraft.storage.atomic import write_text_atomic
    from torchgraft.viewing import Viewer, shown

    found = shown(paths)
    if out is not None:
        write_text_atomic(out, found.html())
        output.result(None, lambda: {"report": str(out)})
        output.line(str(out))
        return
    found.html()  # what can't be read is said here, not in the browser
    with Viewer(found, port=port) as viewer:
        output.line(viewer.url)
        output.result(None, lambda: {"url": viewer.url})
        output.remark("Ctrl-C ends it")
        if not no_open:
            webbrowser.open(viewer.url)
        try:
            viewer.serve_forever()
        except KeyboardInterrupt:
            output.remark("ended")
