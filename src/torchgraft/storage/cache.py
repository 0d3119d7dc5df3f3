"""What is in the cache of downloads: to list it, to check all of it, to remove what is not needed."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from torchgraft.errors import FetchError
from torchgraft.storage.cache_place import LOCKS, Place, cache_folder
from torchgraft.storage.cache_record import Record, read_record, sha256_of, write_record
from torchgraft.storage.known_digest import digest_in_name

__all__ = ["CachedFile", "cached_files", "prune_cache", "verify_cache"]

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file that the cache knows of.

    Attributes:
        path: Where it is.
        state: `"whole"`: as it was when its digest was computed, or now, after `verify_cache`. `"unchecked"`:
            put there by hand, or changed since. `"partial"`: a download that broke and can be gone on with.
            `"damaged"`: its bytes are not those that it had. `"gone"`: another program's cache lost it.
            `"busy"`: being downloaded just now.
        size: Its length in bytes, or of what has come so far.
        url: Its address, without secrets, if that is known.
        sha256: Of all of it, if that is known.
        used: When it was last asked for, in seconds since 1970.
        ours: Whether it is in our own cache, rather than in torch.hub's, the hub's or a mirror.
    """

    path: Path
    state: Literal["whole", "unchecked", "partial", "damaged", "gone", "busy"]
    size: int
    url: str | None
    sha256: str | None
    used: float
    ours: bool


def cached_files() -> list[CachedFile]:
    """All files in the cache and those of other caches that were used, the last used first; none is read."""
    found = [file for place in _places() for file in _files(place)]
    return sorted(found, key=lambda file: (-file.used, str(file.path)))


def verify_cache(tell: Callable[[CachedFile], object] | None = None) -> list[CachedFile]:
    """Read every file and compare it with its digest. Damaged ones are removed from our cache.

    Those of other programs' caches are not touched; they are not used any more.

    Args:
        tell: Gets each file when it has been checked.

    Raises:
        FetchError: The cache can't be read or written.
    """
    checked = []
    with _as_fetch_errors():
        for place in _places():
            for file in _files(place):
                checked.append(_verified(place, file))
                if tell is not None:
                    tell(checked[-1])
    return checked


def prune_cache(
    *, older_than: float | None = None, everything: bool = False, dry_run: bool = False
) -> list[CachedFile]:
    """Remove what is of no use: broken downloads, and what is known of files that are gone. Returns it.

    Only our own cache is changed, never torch.hub's, the hub's or a mirror.

    Args:
        older_than: Also whole files that nobody asked for in so many days.
        everything: All files.
        dry_run: Remove nothing.

    Raises:
        FetchError: The cache can't be written.
    """
    limit = None if older_than is None else time.time() - older_than * _DAY
    removed = []
    with _as_fetch_errors():
        for place in _places():
            for file in _files(place):
                old = limit is not None and file.used < limit
                if everything or file.state in {"partial", "damaged", "gone"} or old:
                    gone = dry_run or _removed(place, file)
                    removed.append(file if gone else replace(file, state="busy"))
    return [file for file in removed if file.state != "busy"]


def _places() -> Iterator[Place]:
    home = cache_folder()
    for folder in sorted(home.iterdir()) if home.is_dir() else []:
        if folder.is_dir() and folder.name != LOCKS and (place := Place.at(folder)) is not None:
            yield place


def _files(place: Place) -> Iterator[CachedFile]:
    record = read_record(place)
    if record is not None:
        path = place.folder / record.path
        there = path.is_file()
        state: Literal["whole", "unchecked", "gone"] = "gone"
        if there:
            state = "whole" if record.describes(path) else "unchecked"
        size = path.stat().st_size if there else 0
        used = place.record.stat().st_mtime
        ours = path == place.file or (not there and path.parent == place.folder)
        yield CachedFile(path, state, size, record.url, record.sha256, used, ours)
    if place.name and place.file.is_file() and (record is None or record.path != place.name):
        status = place.file.stat()
        yield CachedFile(place.file, "unchecked", status.st_size, None, None, status.st_mtime, True)
    if place.part.is_file():
        status = place.part.stat()
        yield CachedFile(
            place.part, "partial", status.st_size, _url_of_part(place), None, status.st_mtime, True
        )


def _url_of_part(place: Place) -> str | None:
    try:
        url = json.loads(place.note.read_text("utf-8"))["url"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return url if isinstance(url, str) else None


def _verified(place: Place, file: CachedFile) -> CachedFile:
    if file.state in {"partial", "gone"}:
        return file
    with _lock(place) as held:
        if not held:
            return replace(file, state="busy")
        actual = sha256_of(file.path)
        if not actual.startswith(file.sha256 or digest_in_name(file.path.name) or ""):
            if file.ours:
                file.path.unlink()
            place.record.unlink(missing_ok=True)
            return replace(file, state="damaged", sha256=actual)
        if file.url is not None:  # without an address it stays the user's word
            used = place.record.stat().st_mtime
            write_record(place, Record.of(file.url, place, file.path, actual))
            _set_used(place, used)
        return replace(file, state="whole", sha256=actual)


def _set_used(place: Place, used: float) -> None:
    import os

    with contextlib.suppress(OSError):
        os.utime(place.record, (used, used))


def _removed(place: Place, file: CachedFile) -> bool:
    with _lock(place) as held:
        if not held:
            return False
        if file.state == "partial":
            for path in (place.part, place.note):
                path.unlink(missing_ok=True)
        else:
            if file.ours:
                file.path.unlink(missing_ok=True)
            place.record.unlink(missing_ok=True)
        if Place.at(place.folder) is None:
            shutil.rmtree(place.folder, ignore_errors=True)
        return True


@contextlib.contextmanager
def _lock(place: Place) -> Iterator[bool]:
    """Hold the place's lock; `False` where another process has it."""
    place.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextlib.contextmanager
def _as_fetch_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FetchError(
            f"the cache can't be read or written: {error}",
            where=str(cache_folder()),
            hint="check whose folder it is, or set TORCHGRAFT_CACHE to one of yours",
        ) from error
