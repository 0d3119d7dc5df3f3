"""`torchgraft convert`: whatever can be opened becomes safetensors or a `.pth` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from torchgraft.cli.byte_progress import byte_progress
from torchgraft.cli.choice import Choice
from torchgraft.cli.options import out, output_options, select
from torchgraft.cli.output import Output

__all__ = ["convert"]


@click.command()
@click.argument("file")
@out("A .safetensors or .pth file; or a folder, for safetensors in several files.")
@select
@click.option("--shard-size", metavar="SIZE", help="How large a file in the folder may be: 5GB, 500MiB.")
@click.option(
    "--dtype",
    type=Choice(["float16", "bfloat16", "float32", "float64"]),
    help="Cast the floating-point tensors.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Hold what is read against the file's checksums.",
)
@output_options
def convert(file: str, out: Path, shard_size: str | None, output: Output, **options: Any) -> None:
    """Write the weights of any checkpoint as safetensors or as a .pth file, whole or not at all.

    Names, shapes, dtypes and values stay as they are. It needs little memory, however large the file is.

    \b
    torchgraft convert old.pth -o new.safetensors
    torchgraft convert training_run.pt --select model_ema -o ema.safetensors
    torchgraft convert model.h5 -o model/ --shard-size 5GB
    """
    import torchgraft as tg
    from torchgraft.report.quantities import memory, plural
    from torchgraft.report.safe_text import clean
    from torchgraft.saving import size_in_bytes

    try:
        most = None if shard_size is None else size_in_bytes(shard_size)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--shard-size") from error
    with byte_progress(output, "converting") as on_bytes:
        written = tg.convert(file, out, shard_size=most, on_bytes=on_bytes, **options)
    files = sorted(written.iterdir()) if written.is_dir() else [written]
    sizes = {str(each): each.stat().st_size for each in files}
    total = memory(sum(sizes.values()))
    output.result(
        Text(f"{clean(out)}: {plural(len(files), 'file')}, {total}"),
        lambda: {"saved": str(written), "files": sizes},
    )
