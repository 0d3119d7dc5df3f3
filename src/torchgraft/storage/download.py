"""Downloads that are verified before anyone sees them, kept in a cache, once for all who ask."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from torchgraft.errors import FetchError
from torchgraft.storage.addresses import scheme_of, without_secrets
from torchgraft.storage.cache_place import Place, cache_folder
from torchgraft.storage.cache_record import Record, sha256_of, write_record
from torchgraft.storage.download_event import DownloadEvent, Progress
from torchgraft.storage.downloading import Download
from torchgraft.storage.elsewhere import find, mirror_address, offline
from torchgraft.storage.hub import HubAddress, find_in_hub_cache, hub_file
from torchgraft.storage.known_digest import digest_given, digest_in_name
from torchgraft.storage.web import TIMEOUT

__all__ = ["cache_folder", "fetch", "find_fetched"]

_log = logging.getLogger(__name__)


def fetch(
    url: str,
    *,
    sha256: str | None = None,
    on_event: Callable[[DownloadEvent], object] | None = None,
    timeout: float = TIMEOUT,
) -> Path:
    """The file at `url`: from the cache, from torch.hub's cache, from a mirror, or downloaded now.

    A download counts only when it has the length that the server announced and the SHA-256 that is
    known: the one given, the prefix in the file's name (`resnet18-f37072fd.pth`, PyTorch's custom), the
    server's word, or a file `<url>.sha256` beside it. One that broke is gone on with, also by another
    process; of several processes that ask at once, one downloads. A cached file whose length or time is
    not as it was is checked again. Files of the Hugging Face hub go through huggingface_hub and its cache.

    `$TORCHGRAFT_MIRROR` is a folder or an address that holds files by name; with `$TORCHGRAFT_OFFLINE`
    nothing is downloaded. Proxies are taken from the environment.

    Args:
        url: An `http` or `https` address, or `hf://owner/repository/file`. `user:password@` in it is for its
            host alone.
        sha256: The whole SHA-256 of the file, in hexadecimal digits.
        on_event: Is told how the download goes on.
        timeout: Seconds that the server may be silent.

    Raises:
        FetchError: The address can't be reached, or what came is not the file. No bad file is kept.
    """
    scheme, where = scheme_of(url), without_secrets(url)
    digest = digest_given(sha256, where=where)
    if (hub := HubAddress.of(url)) is not None:
        return _from_hub(hub, digest, where)
    if scheme not in {"http", "https"}:
        what = f"addresses of the kind {scheme!r} are not fetched" if scheme else "this is not an address"
        raise FetchError(what, where=where, hint="use https://… or hf://owner/repository/file")
    place = Place.of(url)
    digest = digest or digest_in_name(place.name)
    try:
        if (found := find(where, place, digest)) is not None:
            return found
        if offline():
            raise _missing(where, place)
        place.lock.parent.mkdir(parents=True, exist_ok=True)
        progress = Progress(place.name, on_event)
        with _alone(place, progress):
            # Whoever held the lock has it by now.
            return find(where, place, digest) or _download(url, place, digest, timeout, progress)
    except OSError as error:
        raise FetchError(
            f"the cache can't be written: {error}",
            where=str(place.folder),
            hint="set TORCHGRAFT_CACHE to a folder of yours with enough space",
        ) from error


def find_fetched(url: str) -> Path | None:
    """The file at `url`, if it is on this machine and right; nothing is downloaded."""
    if scheme_of(url) not in {"http", "https"}:
        return None
    try:
        if (hub := HubAddress.of(url)) is not None:
            return find_in_hub_cache(hub)
        place = Place.of(url)
        return find(without_secrets(url), place, digest_in_name(place.name))
    except (FetchError, OSError):
        return None


def _download(url: str, place: Place, digest: str | None, timeout: float, progress: Progress) -> Path:
    place.folder.mkdir(parents=True, exist_ok=True)

    def run(address: str) -> str:
        return Download(address, place, digest, timeout=timeout, pause=_pause, progress=progress).run()

    mirror = mirror_address(place.name)
    sha256 = ""
    if mirror is not None:
        try:
            sha256 = run(mirror)
        except FetchError as error:
            _log.warning("%s; its own server is asked", str(error).partition("\n")[0])
    sha256 = sha256 or run(url)
    write_record(place, Record.of(without_secrets(url), place, place.file, sha256))
    return place.file


def _missing(where: str, place: Place) -> FetchError:
    if place.file.is_file():
        return FetchError(
            "the file in the cache is not the one that it should be, and this is offline",
            where=where,
            hint=f"replace {place.file} by the right one; remove {place.record} too if that is a new version",
        )
    return FetchError(
        "it is in no cache, and this is offline (TORCHGRAFT_OFFLINE)",
        where=where,
        hint=f"download it elsewhere and put it at {place.file}; "
        f"or set TORCHGRAFT_MIRROR to a folder that holds {place.name}",
    )


def _from_hub(hub: HubAddress, digest: str | None, where: str) -> Path:
    path = hub_file(hub.repository, hub.name, hub.revision)
    if path is None:
        raise FetchError("the repository has no such file", where=where, hint="check the file's name")
    if digest is not None and (actual := sha256_of(path)) != digest:
        raise FetchError(
            f"the hub's file is another one: SHA-256 {actual} instead of {digest}",
            where=where,
            hint="name the revision that it is of, or check the digest",
        )
    return path


@contextlib.contextmanager
def _alone(place: Place, progress: Progress) -> Iterator[None]:
    """Hold the place's lock; tells of it when another process has it."""
    lock = FileLock(place.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


_pause = time.sleep  # of tests, which don't wait
