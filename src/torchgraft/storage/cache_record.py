"""What the cache knows of a file: length, time and SHA-256. It is checked again when it differs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from torchgraft.storage.cache_place import Place

__all__ = ["Record", "intact", "read_record", "sha256_of", "write_json", "write_record"]

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A file as it was when it was last checked.

    Attributes:
        url: Its address, without secrets.
        path: Its name in the cache's folder, or a whole path where another program's cache holds it.
        size: Its length in bytes.
        modified: When it was last written, in nanoseconds since 1970.
        sha256: Of all of it.
    """

    url: str
    path: str
    size: int
    modified: int
    sha256: str

    @classmethod
    def of(cls, url: str, place: Place, path: Path, sha256: str) -> Record:
        """The record of a file whose SHA-256 has just been computed."""
        status = path.stat()
        shown = path.name if path == place.file else str(path.absolute())
        return cls(url, shown, status.st_size, status.st_mtime_ns, sha256)

    def describes(self, path: Path) -> bool:
        """Whether length and time are the same still."""
        status = path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.modified)


def intact(url: str, place: Place, path: Path, digest: str | None, *, trusted: bool) -> bool:
    """Whether a file is there and right. It is read only where its length or time is not as recorded.

    Args:
        url: Its address, without secrets.
        place: Where its record is kept.
        path: The file.
        digest: The first digits of its SHA-256, or all.
        trusted: Whether it is taken where neither a digest nor a record says what is right.
    """
    if not path.is_file() or not path.stat().st_size:
        return False
    record = read_record(place)
    if record is not None and place.folder / record.path != path:
        record = None
    if record is None and digest is None and not trusted:
        return False
    if record is not None and record.describes(path):
        actual = record.sha256
    else:
        actual = sha256_of(path)
        if digest is None and record is not None:
            digest = record.sha256
    if digest is not None and not actual.startswith(digest):
        _log.warning("%s is not what its SHA-256 says; it is not used", path)
        return False
    if record is None or not record.describes(path):
        write_record(place, Record.of(url, place, path, actual))
    with contextlib.suppress(OSError):
        os.utime(place.record)  # says when the file was last used
    return True


def read_record(place: Place) -> Record | None:
    """The record of a place; `None` if there is none that can be used."""
    try:
        data = json.loads(place.record.read_text("utf-8"))
        record = Record(**data)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    kinds = {"url": str, "path": str, "size": int, "modified": int, "sha256": str}
    right = all(type(getattr(record, field.name)) is kinds[field.name] for field in fields(record))
    return record if right and record.path and len(record.sha256) == 64 else None


def write_record(place: Place, record: Record) -> None:
    """Keep a record. Where the cache can't be written, the file is checked anew the next time."""
    with contextlib.suppress(OSError):
        place.folder.mkdir(parents=True, exist_ok=True)
        write_json(place.record, asdict(record))


def write_json(path: Path, data: object) -> None:
    """Write a small file, whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def sha256_of(path: Path, seen: Callable[[bytes], object] | None = None) -> str:
    """The SHA-256 of a file, in hexadecimal digits; `seen` is given its pieces too."""
    actual = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            actual.update(piece)
            if seen is not None:
                seen(piece)
    return actual.hexdigest()
