"""`torchgraft fetch`: a file from the web or the hub into the cache, verified."""

from __future__ import annotations

import click

from torchgraft.cli.options import output_options
from torchgraft.cli.output import Output

__all__ = ["fetch"]


@click.command()
@click.argument("url")
@click.option("--sha256", metavar="DIGITS", help="The file's SHA-256: all of its 64 digits.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds that the server may be silent.",
)
@output_options
def fetch(url: str, sha256: str | None, timeout: float, output: Output) -> None:
    """Download a file to the cache and print where it is. What broke off is gone on with.

    It is taken from the cache, torch.hub's or the hub's cache, or $TORCHGRAFT_MIRROR, if one of them has it.

    \b
    torchgraft fetch https://download.pytorch.org/models/resnet152-394f9c45.pth
    torchgraft fetch https://example.org/net.pth --sha256 9f86d0818…
    torchgraft fetch hf://timm/resnet18.a1_in1k/model.safetensors --json
    """
    import torchgraft as tg

    path = tg.fetch(url, sha256=sha256, timeout=timeout)
    output.line(str(path))
    output.result(None, lambda: {"path": str(path), "size": path.stat().st_size})
