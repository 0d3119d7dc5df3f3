"""`torchgraft cache`: what has been downloaded; whether it is whole; remove what is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from torchgraft.cli.choice import Choice
from torchgraft.cli.options import output_options
from torchgraft.cli.output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from torchgraft.storage.cache import CachedFile

__all__ = ["cache"]


@click.command()
@click.argument("action", type=Choice(["list", "verify", "prune"]))
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", help="prune: also files not used for so long."
)
@click.option("--all", "everything", is_flag=True, help="prune: all files.")
@click.option("--dry-run", is_flag=True, help="prune: only show what would be removed.")
@output_options
def cache(action: str, older_than: float | None, everything: bool, dry_run: bool, output: Output) -> int:
    """List what is in the cache of downloads, check all of it, or remove what is of no use.

    verify reads every file; damaged ones are removed, and it exits with 8. prune removes broken downloads.
    The caches of torch.hub and of the Hugging Face hub are never changed.

    \b
    torchgraft cache list
    torchgraft cache verify --json
    torchgraft cache prune --older-than 90 --dry-run
    """
    from torchgraft.storage.cache import cached_files, prune_cache, verify_cache
    from torchgraft.storage.cache_place import cache_folder

    if action != "prune" and (older_than is not None or everything or dry_run):
        raise click.UsageError("--older-than, --all and --dry-run are for prune")
    if action == "list":
        files = cached_files()
    elif action == "verify":
        files = verify_cache(lambda file: output.remark(f"{file.state:9} {file.path}"))
    else:
        files = prune_cache(older_than=older_than, everything=everything, dry_run=dry_run)
    output.result(
        _table(action, str(cache_folder()), files, dry_run),
        lambda: {"cache": str(cache_folder()), "files": [_data(file) for file in files]},
    )
    return 8 if action == "verify" and any(file.state == "damaged" for file in files) else 0


def _table(action: str, folder: str, files: Sequence[CachedFile], dry_run: bool) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from torchgraft.report.quantities import memory, plural
    from torchgraft.report.safe_text import clean

    table = Table(box=None, pad_edge=False)
    for title in ("state", "size", "used", "file"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=title != "file")
    for file in files:
        place = clean(file.url or file.path.name) if file.ours else clean(str(file.path))
        day = datetime.fromtimestamp(file.used, tz=timezone.utc).strftime("%Y-%m-%d")
        table.add_row(Text(file.state), memory(file.size), day, Text(place, overflow="fold"))
    verb = {"list": "in", "verify": "checked in", "prune": "to remove from" if dry_run else "removed from"}
    total = memory(sum(file.size for file in files if file.ours))
    last = Text(f"{plural(len(files), 'file')}, {total}, {verb[action]} {clean(folder)}")
    return Group(table, last) if files else last


def _data(file: CachedFile) -> dict[str, object]:
    used = datetime.fromtimestamp(file.used, tz=timezone.utc).isoformat(timespec="seconds")
    return {
        "path": str(file.path),
        "state": file.state,
        "size": file.size,
        "url": file.url,
        "sha256": file.sha256,
        "used": used,
        "ours": file.ours,
    }
