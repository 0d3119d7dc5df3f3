"""A folder in an object store or hub, through fsspec."""

from __future__ import annotations

from functools import cached_property

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.storage.folder import inner_path
from torchgraft.storage.fsspec_file import FsspecRanges
from torchgraft.storage.fsspec_place import FsspecPlace
from torchgraft.storage.remote_file import RemoteFile

__all__ = ["FsspecFolder", "open_fsspec_file"]

_MAX_LISTED = 100_000


def open_fsspec_file(ranges: FsspecRanges, *, verify: bool) -> RemoteFile:
    """The file, once it is seen not to be empty."""
    if not ranges.size:
        raise CorruptCheckpointError("the file is empty (0 bytes)", where=ranges.name, hint="upload it again")
    return RemoteFile(ranges, verify=verify)


class FsspecFolder:
    """A folder. It is listed when a name in it is asked for, once.

    Args:
        place: Where it is.
        verify: Archives in its files are to be held against their checksums when they are read.

    Attributes:
        name: Its address, without secrets.
        path: `None`: it is not on this machine.
    """

    def __init__(self, place: FsspecPlace, *, verify: bool = False) -> None:
        self.name = place.name.rstrip("/")
        self.path = None
        self._place = place
        self._verify = verify

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files directly in it, sorted."""
        return self._listed[0]

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders directly in it, sorted."""
        return self._listed[1]

    def size(self, name: str) -> int | None:
        """Length in bytes of a file in it, by its path from here; `None` if there is none.

        Raises:
            UnsafeCheckpointError: The path leads out of the folder.
            FetchError: The store can't be asked.
        """
        name = inner_path(name, self.name)
        if "/" not in name:
            return self._sizes.get(name)
        info = self._place.inside(name).find() or {}
        size = info.get("size")
        return size if isinstance(size, int) and info.get("type") != "directory" else None

    def open(self, name: str) -> RemoteFile:
        """A file in it, or in a folder in it, by its path from here.

        Raises:
            CheckpointError: There is no such file, or it is empty.
            UnsafeCheckpointError: The path leads out of the folder.
            FetchError: The store can't be asked.
        """
        name = inner_path(name, self.name)
        place = self._place.inside(name)
        info = place.find()
        if info is None or info.get("type") == "directory":
            raise CheckpointError("no such file", where=place.name, hint="check the address")
        return open_fsspec_file(FsspecRanges(place, info), verify=self._verify)

    def inner(self, name: str) -> FsspecFolder:
        """A folder directly in it."""
        name = inner_path(name, self.name)
        return FsspecFolder(self._place.inside(name), verify=self._verify)

    @cached_property
    def _sizes(self) -> dict[str, int | None]:
        return {
            name: size if isinstance(size, int) else None
            for name, kind, size in self._entries
            if kind != "directory"
        }

    @cached_property
    def _listed(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        folders = sorted(name for name, kind, _ in self._entries if kind == "directory")
        return tuple(sorted(self._sizes)), tuple(folders)

    @cached_property
    def _entries(self) -> list[tuple[str, object, object]]:
        """Name, kind and size. Only the last part of what a store calls them counts: they are in here."""
        listed = self._place.listing()
        if len(listed) > _MAX_LISTED:
            raise UnsafeCheckpointError(
                f"this folder holds {len(listed):,} files; the limit is {_MAX_LISTED:,}", where=self.name
            )
        named = [(str(entry.get("name", "")).rstrip("/").rpartition("/")[2], entry) for entry in listed]
        own = self._place.path.rstrip("/")
        return [
            (name, entry.get("type"), entry.get("size"))
            for name, entry in named
            # stores keep a folder as an empty file of its own name
            if name and str(entry.get("name", "")).strip("/") != own.strip("/")
        ]
