"""A download that is not finished: what has come so far, kept so that another process can go on with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import IO, Any

from torchgraft.storage.cache_place import Place
from torchgraft.storage.cache_record import write_json
from torchgraft.storage.http_answers import Version

__all__ = ["Partial"]

NOTE_BYTES = 1 << 24
NOTE_SECONDS = 2.0
"""How often what has come is put on the disk for good; a crash costs no more than this."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Which file the bytes are of.

    Attributes:
        url: Where they come from, without secrets.
        version: As the server tells it.
        total: Bytes in all, if the server says.
        digest: Its SHA-256, if the server says.
    """

    url: str
    version: Version = field(default_factory=Version)
    total: int | None = None
    digest: str | None = None


class Partial:
    """The bytes in `place.part`. A context, within which the place's lock is held.

    Beside them lies a note of how many were on the disk for good, and their SHA-256: after a crash only
    those count. Without a note, or with bytes that it does not fit, the download begins anew.

    Args:
        place: Where they are.
        url: Where the file is downloaded from, without secrets.
        digest: The first digits of its SHA-256, or all, if the caller knows them.

    Attributes:
        origin: Which file they are of.
        size: How many there are.
        pieced: Whether they came in more than one answer.
    """

    def __init__(self, place: Place, url: str, digest: str | None) -> None:
        self._place = place
        self._digest = digest
        for left in place.folder.glob(".*.new"):  # of a process that died while it wrote a note
            with contextlib.suppress(OSError):
                left.unlink()
        self._file: IO[bytes] = place.part.open("a+b")
        self._hash = hashlib.sha256()
        self._noted = (0, time.monotonic())
        self.origin = Origin(url)
        self.size = 0
        self.pieced = False
        if not self._take_up():
            self.restart(self.origin)

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.keep()
        self._file.close()
        if not self.size or not self.resumable:
            self._remove()

    @property
    def known(self) -> str | None:
        """The digits of its SHA-256 that the caller or the server gives."""
        return self._digest or self.origin.digest

    @property
    def resumable(self) -> bool:
        """Whether something tells that the rest, when it comes, is of the same file."""
        return self.origin.version.condition is not None or self.known is not None

    @property
    def sha256(self) -> str:
        """Of the bytes so far."""
        return self._hash.hexdigest()

    def restart(self, origin: Origin) -> None:
        """Begin anew, with a file of this origin."""
        self._file.seek(0)
        self._file.truncate()
        with contextlib.suppress(FileNotFoundError):
            self._place.note.unlink()
        self._hash = hashlib.sha256()
        self._noted = (0, time.monotonic())
        self.origin, self.size, self.pieced = origin, 0, False

    def add(self, piece: bytes) -> None:
        """The next bytes."""
        self._file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)
        bytes_before, seconds_before = self._noted
        if self.size - bytes_before >= NOTE_BYTES or time.monotonic() - seconds_before >= NOTE_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Put what has come on the disk for good."""
        if self.size == self._noted[0]:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        origin = self.origin
        note = {
            "url": origin.url,
            "etag": origin.version.etag,
            "modified": origin.version.modified,
            "total": origin.total,
            "digest": origin.digest,
            "size": self.size,
            "sha256": self.sha256,
        }
        write_json(self._place.note, note)
        self._noted = (self.size, time.monotonic())

    def finish(self) -> None:
        """The bytes are all there and right: they become the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._place.part.replace(self._place.file)
        self._remove()
        self._file = self._place.file.open("rb")  # closed at the end of the context
        self._noted = (self.size, 0.0)

    def _take_up(self) -> bool:
        """Go on with what an earlier process left."""
        try:
            note: Any = json.loads(self._place.note.read_text("utf-8"))
            size, total = note["size"], note["total"]
            version = Version(note["etag"], note["modified"])
            right = type(size) is int and size > 0 and (total is None or type(total) is int)
            if not right or note["url"] != self.origin.url:
                return False
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False
        self._file.seek(0)
        left = size
        while left and (piece := self._file.read(min(left, _CHUNK))):
            self._hash.update(piece)
            left -= len(piece)
        if left or self.sha256 != note["sha256"]:
            return False
        self._file.truncate(size)
        self._file.seek(size)
        self.origin = Origin(self.origin.url, version, total, note["digest"])
        self.size, self.pieced = size, True
        self._noted = (size, time.monotonic())
        return True

    def _remove(self) -> None:
        for path in (self._place.part, self._place.note):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
