"""One download: asked for again after a break, from where it broke, until its length and digest are right."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPException, HTTPResponse
from socket import gaierror
from urllib.error import HTTPError, URLError

from torchgraft.errors import FetchError
from torchgraft.storage.addresses import without_secrets
from torchgraft.storage.cache_place import Place
from torchgraft.storage.download_event import Progress
from torchgraft.storage.http_answers import (
    BUSY,
    LONGEST_PAUSE,
    PAUSES,
    BrokenError,
    Version,
    content_range,
    wanted_pause,
)
from torchgraft.storage.known_digest import digest_in_headers, digest_on_server
from torchgraft.storage.partial import Origin, Partial
from torchgraft.storage.unexpected import what_came_instead
from torchgraft.storage.web import reason, send

__all__ = ["Download"]

_CHUNK = 1 << 18
_PROGRESS = 1 << 20
"""Bytes that must be new before the count of failures starts anew."""

_SLOWEST = 1000
"""Bytes a second below which a server counts as silent."""


class Download:
    """A file on its way into the cache.

    Args:
        url: Its address, of `http` or `https`.
        place: Where it is put; the caller holds its lock.
        digest: The first digits of its SHA-256, or all, if they are known.
        timeout: Seconds that the server may be silent.
        pause: Waits for so many seconds before an attempt is repeated.
        progress: Is told of it.
    """

    def __init__(
        self,
        url: str,
        place: Place,
        digest: str | None,
        *,
        timeout: float,
        pause: Callable[[float], object],
        progress: Progress,
    ) -> None:
        self._url = url
        self._where = without_secrets(url)
        self._place = place
        self._digest = digest
        self._timeout = timeout
        self._pause = pause
        self._progress = progress
        self._open_ended = False  # whether nothing but a closed connection said where the last answer ended
        self._by_hand = f"download it elsewhere and put it at {place.file}"

    def run(self) -> str:
        """Download it; what has come before is gone on with. Returns its SHA-256.

        Raises:
            FetchError: It can't be had, or is not what it should be. What can be gone on with is kept.
            OSError: The cache can't be written.
        """
        with Partial(self._place, self._where, self._digest) as part:
            failures, furthest = 0, part.size
            while True:
                try:
                    self._attempt(part)
                    sha256 = self._check(part)
                    part.finish()
                    return sha256
                except BrokenError as broken:
                    if part.size >= furthest + _PROGRESS:
                        failures = 0
                    furthest = max(furthest, part.size)
                    if failures == len(PAUSES):
                        raise FetchError(
                            f"{broken.what} ({failures + 1} attempts)",
                            where=self._where,
                            hint=f"try again: it goes on where it broke; or {self._by_hand}",
                        ) from broken.__cause__
                    part.keep()
                    self._progress.retrying(part.size, part.origin.total, broken.what)
                    self._pause(min(max(PAUSES[failures], broken.wait), LONGEST_PAUSE))
                    failures += 1

    def _attempt(self, part: Partial) -> None:
        version = part.origin.version
        if part.size and not part.resumable:
            part.restart(Origin(self._where))
        if part.size and part.size == part.origin.total:
            return
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        if part.size and version.condition:
            headers["If-Range"] = version.condition
        with self._ask(headers, part) as response:
            self._open_ended = response.length is None and not response.chunked
            if response.status == 206 and part.size:
                self._check_rest(response, part)
                part.pieced = True
            elif response.status == 200:
                part.restart(self._origin(response))
            else:
                what = f"the server answers {response.status} {response.reason}"
                raise FetchError(what, where=self._where, hint="check the address")
            self._receive(response, part)

    def _ask(self, headers: dict[str, str], part: Partial) -> HTTPResponse:
        try:
            return send(self._url, headers, timeout=self._timeout)
        except HTTPError as error:
            error.close()
            answer = f"the server answers {error.code} {error.reason}"
            if error.code in BUSY:
                raise BrokenError(answer, wanted_pause(error)) from error
            if headers and error.code in {412, 416}:
                part.restart(Origin(self._where))
                raise BrokenError("the file behind this address has changed") from error
            hint = f"check the address, and that you may read it; or {self._by_hand}"
            raise FetchError(answer, where=self._where, hint=hint) from error
        except (OSError, HTTPException) as error:
            cause = error.reason if isinstance(error, URLError) else error
            what = f"can't be reached: {reason(error)}"
            if not part.size and isinstance(cause, (gaierror, ConnectionRefusedError)):
                raise FetchError(what, where=self._where, hint=f"when offline, {self._by_hand}") from error
            raise BrokenError(what) from error

    def _origin(self, response: HTTPResponse) -> Origin:
        """Which file a whole answer is; there must be room for it."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            what = f"the server sends it compressed ({encoding[:20]!r}), which was not asked for"
            raise FetchError(what, where=self._where, hint=self._by_hand)
        total = response.length  # of Content-Length; none where the answer comes in chunks
        free = shutil.disk_usage(self._place.folder).free
        if total is not None and total > free:
            raise FetchError(
                f"it has {total:,} bytes, and the cache's disk has room for {free:,}",
                where=self._where,
                hint="make room, or set TORCHGRAFT_CACHE to a folder on another disk",
            )
        return Origin(self._where, Version.of(response), total, digest_in_headers(response.headers))

    def _check_rest(self, response: HTTPResponse, part: Partial) -> None:
        """That an answer is the rest of the same file; if it is not, all is asked for again."""
        origin, found = part.origin, content_range(response)
        total = None if found is None else found[2]
        if found is None or found[0] != part.size or (total is not None and found[1] != total - 1):
            what = "the server sends another part than was asked for"
        elif _is_another(origin, Version.of(response), total):
            what = "the file behind this address has changed"
        elif response.length is not None and response.length != found[1] - found[0] + 1:
            what = "the server contradicts itself about the length of a part"
        else:
            part.origin = replace(origin, total=total or origin.total)
            return
        part.restart(Origin(self._where))
        raise BrokenError(what)

    def _receive(self, response: HTTPResponse, part: Partial) -> None:
        total = part.origin.total
        window, since = part.size, time.monotonic()
        while piece := _read(response):
            if not part.size and (instead := what_came_instead(piece, self._place.name)):
                raise FetchError(f"{instead[0]} came instead of a file", where=self._where, hint=instead[1])
            part.add(piece)
            self._progress.received(part.size, total)
            now = time.monotonic()
            if now - since > self._timeout:
                if part.size - window < _SLOWEST * (now - since):
                    raise BrokenError("the server is too slow")
                window, since = part.size, now
            if total is not None and part.size > total:
                part.restart(Origin(self._where))
                raise BrokenError("the server sends more than it announced")
        if total is not None and part.size < total:
            raise BrokenError(f"the download broke off after {part.size:,} of {total:,} bytes")
        if not part.size:
            raise FetchError("the server sent an empty file", where=self._where, hint="check the address")

    def _check(self, part: Partial) -> str:
        known = part.known or digest_on_server(self._url, self._place.name, self._timeout)
        found = part.sha256
        if known is not None and not found.startswith(known):
            pieced = part.pieced or self._open_ended
            part.restart(Origin(self._where))
            what = f"wrong bytes came: SHA-256 {found} instead of {known}{'…' * (len(known) < 64)}"
            if pieced:  # the pieces may be of two files, or the end may be missing: all of it once more
                raise BrokenError(what)
            hint = "try again; if it stays, the file behind this address has changed"
            raise FetchError(what, where=self._where, hint=hint)
        if known is None and self._open_ended:
            part.restart(Origin(self._where))
            raise FetchError(
                "the server tells neither length nor digest: nothing would tell that the end is missing",
                where=self._where,
                hint=f"give its SHA-256: sha256='…'; or {self._by_hand}",
            )
        return found


def _is_another(origin: Origin, version: Version, total: int | None) -> bool:
    if None not in (origin.total, total) and origin.total != total:
        return True
    return origin.version.condition is not None and version not in (origin.version, Version())


def _read(response: HTTPResponse) -> bytes:
    """The next bytes. A broken connection is told apart from a disk that can't be written."""
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise BrokenError(f"the connection broke: {reason(error)}") from error
