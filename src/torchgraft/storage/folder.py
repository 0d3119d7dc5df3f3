"""What a checkpoint of several files is read from: a folder, wherever it is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from torchgraft.storage.byte_file import ByteFile

__all__ = ["Folder"]


class Folder(Protocol):
    """A folder whose files can be listed and opened, and nothing outside of it."""

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
        """Names of the files directly in it, sorted."""
        ...

    @property
    def folders(self) -> Collection[str]:
        """Names of the folders directly in it, sorted."""
        ...

    def size(self, name: str) -> int | None:
        """Length in bytes of a file in it, by its path from here; `None` if there is none.

        Raises:
            UnsafeCheckpointError: The path leads out of the folder.
        """
        ...

    def open(self, name: str) -> ByteFile:
        """A file in it, or in a folder in it, by its path from here.

        Raises:
            CheckpointError: There is no such file, or it can't be opened.
            UnsafeCheckpointError: The path leads out of the folder.
        """
        ...

    def inner(self, name: str) -> Folder:
        """A folder directly in it."""
        ...
