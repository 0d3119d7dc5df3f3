"""Downloads that are verified before anyone sees them, kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from torchgraft.errors import FetchError
from torchgraft.storage.addresses import scheme_of, without_secrets
from torchgraft.storage.web import reason, send

__all__ = ["cache_folder", "fetch"]

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})(?=\.[^.]*$)")


def fetch(url: str, *, sha256: str | None = None) -> Path:
    """The file at `url`: from the cache, from torch.hub's cache, or downloaded now.

    A download counts only when it has the length that the server announced and the SHA-256 that is
    known: the one given, or the prefix in the file's name (`resnet18-f37072fd.pth`, PyTorch's custom).

    Args:
        url: An `http` or `https` address. `user:password@` in it is for its host alone.
        sha256: The whole SHA-256 of the file, in hexadecimal digits.

    Raises:
        FetchError: The address can't be reached, or what came is not the file. The cache is unchanged.
    """
    scheme, where = scheme_of(url), without_secrets(url)
    if scheme not in {"http", "https"}:
        raise FetchError(
            f"addresses of the kind {scheme!r} are not fetched", where=where, hint="use http or https"
        )
    try:
        name = Path(unquote(urlsplit(url).path)).name
    except ValueError:
        raise FetchError("this is not a valid address", where=where) from None
    if not name or name in {".", ".."} or "\0" in name:
        raise FetchError("the address names no file", where=where)
    digest = sha256.lower() if sha256 else _digest_in_name(name)
    # Two addresses may end in the same name; the folder tells them apart.
    folder = cache_folder() / hashlib.sha256(url.encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            for candidate in (folder / name, _hub_folder() / name):
                if _is_intact(candidate, digest, trusted=candidate.parent == folder):
                    return candidate
            return _download(url, folder / name, digest)
    except OSError as error:
        raise FetchError(
            f"the cache can't be written: {error}",
            where=str(folder),
            hint="set TORCHGRAFT_CACHE to a folder of yours with enough space",
        ) from error


def cache_folder() -> Path:
    """`$TORCHGRAFT_CACHE`, else `torchgraft/` in the user's cache folder."""
    if chosen := os.environ.get("TORCHGRAFT_CACHE"):
        return Path(chosen).expanduser()
    return _user_cache() / "torchgraft"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _hub_folder() -> Path:
    """Where torch.hub keeps what it downloads."""
    home = os.environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else _user_cache() / "torch") / "hub" / "checkpoints"


def _digest_in_name(name: str) -> str | None:
    found = _HASH_IN_NAME.search(name)
    return found[1] if found else None


def _is_intact(path: Path, digest: str | None, *, trusted: bool) -> bool:
    """Whether a cached file is there and right; without a digest only our own folder is trusted."""
    if not path.is_file():
        return False
    if digest is None:
        return trusted
    actual = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            actual.update(chunk)
    if actual.hexdigest().startswith(digest):
        return True
    _log.warning("%s is not what its SHA-256 says; it is not used", path)
    return False


def _download(url: str, target: Path, digest: str | None) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            actual = _stream(url, file, target)
            file.flush()
            os.fsync(file.fileno())
        if digest and not actual.startswith(digest):
            raise FetchError(
                f"wrong bytes came: SHA-256 {actual} instead of {digest}…",
                where=without_secrets(url),
                hint="try again; if it stays, the file behind this address has changed",
            )
        temporary.replace(target)
        return target
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _stream(url: str, file: IO[bytes], target: Path) -> str:
    """Copy the body into `file`; returns its SHA-256."""
    where, by_hand = without_secrets(url), f"download it elsewhere and put it at {target}"
    actual = hashlib.sha256()
    received = 0
    try:
        with send(url) as response:
            announced = response.headers.get("Content-Length")
            first = True
            while chunk := _read(response, where, by_hand):
                if first and chunk[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
                    raise FetchError(
                        "a web page came instead of a file",
                        where=where,
                        hint="use the address of the file itself; a login or consent page may be in the way",
                    )
                first = False
                received += len(chunk)
                actual.update(chunk)
                file.write(chunk)
    except HTTPError as error:
        error.close()
        raise FetchError(
            f"the server answers {error.code} {error.reason}",
            where=where,
            hint=f"check the address, or {by_hand}",
        ) from error
    except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
        raise FetchError(
            f"can't be reached: {reason(error)}", where=where, hint=f"when offline, {by_hand}"
        ) from error
    if announced is not None and announced.isdigit() and int(announced) != received:
        raise FetchError(
            f"the download broke off after {received} of {announced} bytes", where=where, hint="try again"
        )
    if not received:
        raise FetchError("the server sent an empty file", where=where, hint="check the address")
    return actual.hexdigest()


def _read(response: IO[bytes], where: str, by_hand: str) -> bytes:
    """One chunk. A broken connection is told apart from a disk that can't be written."""
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise FetchError(
            f"the connection broke: {error}", where=where, hint=f"try again, or {by_hand}"
        ) from error
