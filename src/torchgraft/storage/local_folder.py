"""A folder on this machine that files in it can't lead out of."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path

from torchgraft.errors import CheckpointError, UnsafeCheckpointError
from torchgraft.storage.folder import refuse_outer
from torchgraft.storage.held_place import HeldPlace
from torchgraft.storage.pooled import MappingPool, PooledFile

__all__ = ["LocalFolder"]

_BLOB = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # a file's SHA-1 (git's) or SHA-256, as the Hub names it
_MAX_SHOWN = 200


class LocalFolder:
    """A folder. A symbolic link to the folder itself is followed; links in it must stay in it.

    One kind of link may leave: Hugging Face's cache keeps a revision's files in
    `<repository>/snapshots/<revision>/` as links to `<repository>/blobs/<hash>`. A link is followed there
    when both folders are of one repository and the blob is called by a SHA-1 or SHA-256.

    All its files are from one folder: if another takes its name meanwhile, opening a file fails.

    Args:
        path: The folder.
        verify: Archives in its files are to be held against their checksums when they are read.

    Attributes:
        path: The folder, as it was given.

    Raises:
        CheckpointError: It can't be listed.
    """

    def __init__(self, path: str | os.PathLike[str], *, verify: bool = False) -> None:
        self.path = Path(path)
        self._verify = verify
        self._pool = MappingPool()
        folders, files = [], []
        try:
            self._root = Path(os.path.realpath(self.path))
            self._place = HeldPlace(self._root)
            with os.scandir(self._root) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif not os.path.isdir(entry):  # noqa: PTH112 (entry.is_dir raises for some broken links)
                        files.append(entry.name)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"this folder can't be listed: {error}", where=str(path), hint="check its permissions"
            ) from error
        self._files, self._folders = tuple(sorted(files)), tuple(sorted(folders))

    @property
    def name(self) -> str:
        """Its path, for messages."""
        return str(self.path)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of what is directly in it and no folder, sorted."""
        return self._files

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders directly in it, sorted; links to folders are left out."""
        return self._folders

    def size(self, name: str) -> int | None:
        """Length in bytes of a file in it, by its path from here; `None` if there is none.

        Raises:
            UnsafeCheckpointError: The path leads out of the folder.
        """
        refuse_outer(name, self.name)
        try:
            return (self._root / name).stat().st_size
        except (OSError, ValueError):
            return None

    def inner(self, name: str) -> LocalFolder:
        """A folder directly in it."""
        inner = LocalFolder(self.path / name, verify=self._verify)
        inner._pool = self._pool
        return inner

    def open(self, name: str) -> PooledFile:
        """A file in it, or in a folder in it, by its path from here.

        Raises:
            CheckpointError: There is no such file, or it can't be opened.
            UnsafeCheckpointError: The path or a link in it leads out of the folder.
        """
        refuse_outer(name, self.name)
        shown = name[:_MAX_SHOWN]
        try:
            real = Path(os.path.realpath(self._root / name))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{shown!r} can't be opened: {error}",
                where=self.name,
                hint="check its name, and the permissions of what it leads to",
            ) from error
        if not (real.is_relative_to(self._root) or self._is_blob(real)):
            raise UnsafeCheckpointError(
                f"{shown!r} is a link to {str(real)[:_MAX_SHOWN]!r}, out of the folder",
                where=self.name,
                hint="open that file itself, or put a copy in the folder: cp -L",
            )
        file = PooledFile(self.path / name, self._pool, verify=self._verify)
        if not self._place.is_still(self._root):
            raise CheckpointError(
                "the folder was replaced by another one while it was read",
                where=self.name,
                hint="open it again",
            )
        return file

    def forget(self) -> None:
        """Let the system have back the memory of what was read from its files; see `MappedFile.forget`."""
        self._pool.forget()

    def _is_blob(self, real: Path) -> bool:
        return _BLOB.fullmatch(real.name) is not None and real.parent in self._blob_folders

    @cached_property
    def _blob_folders(self) -> frozenset[Path]:
        """`<repository>/blobs`, when this folder is in `<repository>/snapshots/<revision>`."""
        above = (self._root, *self._root.parents)
        return frozenset(
            snapshots.parent / "blobs" for snapshots in above[1:] if snapshots.name == "snapshots"
        )
