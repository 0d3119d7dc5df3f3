"""Files in object stores and hubs, read in parts through fsspec."""

from __future__ import annotations

from typing import Any

from torchgraft.errors import FetchError
from torchgraft.storage.fsspec_place import FsspecPlace

__all__ = ["FsspecRanges"]

_MARKS = ("size", "ETag", "etag", "generation", "version_id", "blob_id", "LastModified", "last_modified",
          "mtime", "updated", "created")  # fmt: skip
"""What file systems say that is another after a file has been written anew."""


class FsspecRanges:
    """A file that fsspec can read in parts.

    Args:
        place: Where it is.
        info: What the store says of it, if that is known already.

    Attributes:
        name: Its address, without secrets.
        size: Its length in bytes.

    Raises:
        FetchError: It can't be read.
    """

    def __init__(self, place: FsspecPlace, info: dict[str, Any] | None = None) -> None:
        self.name = place.name
        self._place = place
        # fsspec's own file objects read ahead, which would be more than is asked for
        self._options = {} if place.system.async_impl else {"cache_type": "none"}
        info = place.info() if info is None else info
        size = info.get("size")
        if not isinstance(size, int):
            raise FetchError("its size is not known, so it can't be read in parts", where=self.name)
        self.size = size
        self._mark = _mark(info)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill a buffer with the bytes from `offset` on.

        Raises:
            FetchError: They can't be had.
        """
        system, path, end = self._place.system, self._place.path, offset + len(into)
        data = self._place.ask(lambda: system.cat_file(path, start=offset, end=end, **self._options))
        if len(data) != len(into):
            raise FetchError(
                f"{len(data)} bytes came instead of {len(into)}", where=self.name, hint="try again"
            )
        into[:] = data

    def check(self) -> None:
        """Ask whether the file is still the one that was opened.

        Raises:
            FetchError: It has changed.
        """
        if _mark(self._place.info()) != self._mark:
            raise FetchError("the file changed while it was read", where=self.name, hint="open it again")


def _mark(info: dict[str, Any]) -> tuple[object, ...]:
    return tuple(info.get(key) for key in _MARKS)
