"""What a checkpoint of several files is read from: a folder, wherever it is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from torchgraft.errors import UnsafeCheckpointError
from torchgraft.storage.byte_file import ByteFile

__all__ = ["Folder", "at_once", "inner_path", "refuse_outer"]

Result = TypeVar("Result")

_OUTER = re.compile(
    r"^$|^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|\0"
)  # absolute, a drive, "..", or nothing
_MAX_SHOWN = 200
_THREADS = 8
_MAX_FAR = 1_000


class Folder(Protocol):
    """A folder whose files can be opened, and nothing outside of it."""

    @property
    def name(self) -> str:
        """Its path or address, for messages."""
        ...

    @property
    def path(self) -> Path | None:
        """Where it is on this machine, if it is."""
        ...

    @property
    def files(self) -> Collection[str]:
        """Names of the files directly in it, sorted; none where a server doesn't tell."""
        ...

    @property
    def folders(self) -> Collection[str]:
        """Names of the folders directly in it, sorted; none where a server doesn't tell."""
        ...

    def size(self, name: str) -> int | None:
        """Length in bytes of a file in it, by its path from here; `None` if there is none.

        Raises:
            UnsafeCheckpointError: The path leads out of the folder.
            FetchError: A server can't be asked.
        """
        ...

    def open(self, name: str) -> ByteFile:
        """A file in it, or in a folder in it, by its path from here.

        Raises:
            CheckpointError: There is no such file, or it can't be opened.
            UnsafeCheckpointError: The path leads out of the folder.
            FetchError: A server can't be asked.
        """
        ...

    def inner(self, name: str) -> Folder:
        """A folder directly in it."""
        ...


def refuse_outer(name: str, where: str) -> None:
    """Refuse a path that leads out of the folder `where`, read as any system reads it.

    Raises:
        UnsafeCheckpointError: It does.
    """
    if _OUTER.search(name):
        raise UnsafeCheckpointError(
            f"the path {name[:_MAX_SHOWN]!r} leads out of the folder",
            where=where,
            hint="files must be named by their path from the folder they are listed in",
        )


def inner_path(name: str, where: str) -> str:
    """The path from the folder `where`, without dots and slashes that lead nowhere; stores don't know those.

    Raises:
        UnsafeCheckpointError: It leads out of the folder.
    """
    refuse_outer(name, where)
    return posixpath.normpath(name)


def at_once(folder: Folder, names: Sequence[str], ask: Callable[[str], Result]) -> list[Result]:
    """What `ask` says of each of these files; of those that are far away, several are asked for at once.

    Raises:
        UnsafeCheckpointError: They are far away and very many.
        TorchgraftError: What the first question raises that fails.
    """
    if folder.path is not None or len(names) < 2:
        return [ask(name) for name in names]
    if len(names) > _MAX_FAR:
        raise UnsafeCheckpointError(
            f"it is in {len(names):,} files; from afar {_MAX_FAR:,} are opened at most",
            where=folder.name,
            hint="download the folder and open that",
        )
    executor = ThreadPoolExecutor(min(_THREADS, len(names)), thread_name_prefix="torchgraft")
    try:
        return [done.result() for done in [executor.submit(ask, name) for name in names]]
    finally:
        executor.shutdown(cancel_futures=True)
