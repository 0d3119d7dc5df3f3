"""Parts of a file on a web server; each is checked to be the part that was asked for, of the same file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from socket import gaierror
from urllib.error import HTTPError, URLError

from torchgraft.errors import CorruptCheckpointError, FetchError
from torchgraft.storage.addresses import without_secrets
from torchgraft.storage.http_answers import (
    BUSY,
    LONGEST_PAUSE,
    PAUSES,
    BrokenError,
    Version,
    content_range,
    wanted_pause,
)
from torchgraft.storage.web import TIMEOUT, reason, send

__all__ = ["HttpRanges", "open_http_ranges"]

_CHUNK = 1 << 18
_SLOWEST = 10_000
"""Bytes a second below which a server counts as silent."""


class HttpRanges:
    """A file on a web server that sends parts of files; see `open_http_ranges`.

    Attributes:
        name: Its address, without secrets.
        size: Its length in bytes, as the server says.
    """

    def __init__(self, url: str, *, timeout: float, pause: Callable[[float], object]) -> None:
        self.name = without_secrets(url)
        self.size = 0
        self._url = url
        self._version: Version | None = None
        self._timeout = timeout
        self._pause = pause

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill `into` with the bytes from `offset` on. A broken answer is continued where it broke.

        Raises:
            FetchError: The server can't be reached, sends something else, or the file has changed.
        """
        filled = 0

        def attempt() -> None:
            nonlocal filled
            for piece in self._pieces(offset + filled, len(into) - filled):
                into[filled : filled + len(piece)] = piece
                filled += len(piece)

        if into:
            self._repeat(attempt)

    def check(self) -> None:
        """Nothing is left to check: every answer says of which version of the file it is a part."""

    def start(self, length: int) -> bytes | None:
        """The file's first bytes, from which its size and version are learnt; `None` if no part comes.

        Raises:
            FetchError: The server can't be reached, or sends something else.
        """
        return self._repeat(lambda: self._first(length))

    def _first(self, length: int) -> bytes | None:
        with self._ask(0, length) as response:
            if response.status != 206:
                return None
            _, _, total = self._content_range(response)
            if total is None:
                return None
            self._check_part(response, 0, min(length, total), total)
            head = b"".join(self._body(response, min(length, total)))
            self.size, self._version = total, Version.of(response)
            return head

    def _pieces(self, offset: int, length: int) -> Iterator[bytes]:
        with self._ask(offset, length) as response:
            if response.status != 206 or Version.of(response) != self._version:
                raise self._changed()
            self._check_part(response, offset, length, self.size)
            yield from self._body(response, length)

    def _ask(self, offset: int, length: int) -> HTTPResponse:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if self._version is not None and (condition := self._version.condition):
            headers["If-Range"] = condition
        try:
            return send(self._url, headers, timeout=self._timeout)
        except HTTPError as error:
            error.close()
            answer = f"the server answers {error.code} {error.reason}"
            if error.code in BUSY:
                raise BrokenError(answer, wanted_pause(error)) from error
            if self._version is not None and error.code in {404, 410, 412, 416}:
                raise self._changed() from error
            if error.code == 416:
                raise CorruptCheckpointError("the file is empty (0 bytes)", where=self.name) from error
            hint = "check the address, and that you may read it"
            raise FetchError(answer, where=self.name, hint=hint) from error
        except (OSError, HTTPException) as error:
            cause = error.reason if isinstance(error, URLError) else error
            if self._version is None and isinstance(cause, (gaierror, ConnectionRefusedError)):
                hint = "check the address and the network"
                raise FetchError(f"can't be reached: {reason(error)}", where=self.name, hint=hint) from error
            raise BrokenError(f"can't be reached: {reason(error)}") from error

    def _content_range(self, response: HTTPResponse) -> tuple[int, int, int | None]:
        found = content_range(response)
        encoding = response.headers.get("Content-Encoding", "identity")
        if found is None or encoding != "identity":
            text = response.headers.get("Content-Range") or ""
            said = f"Content-Range {text[:80]!r}, Content-Encoding {encoding[:40]!r}"
            raise FetchError(f"the server's answer makes no sense: {said}", where=self.name)
        return found

    def _check_part(self, response: HTTPResponse, offset: int, length: int, size: int) -> None:
        first, last, total = self._content_range(response)
        if total is not None and total != size:
            raise self._changed()
        announced = response.headers.get("Content-Length")
        if (first, last) != (offset, offset + length - 1) or (announced or str(length)) != str(length):
            raise FetchError(
                f"the server sends bytes {first} to {last} ({(announced or 'unknown')[:20]} bytes in all), "
                f"asked for {offset} to {offset + length - 1}",
                where=self.name,
                hint="download the file by other means and open it",
            )

    def _body(self, response: HTTPResponse, length: int) -> Iterator[bytes]:
        deadline = time.monotonic() + self._timeout + length / _SLOWEST
        left = length
        try:
            while left:
                piece = response.read1(min(left, _CHUNK))
                if not piece:
                    raise BrokenError(f"the connection broke with {left} of {length} bytes to come")
                if time.monotonic() > deadline:
                    raise BrokenError("the server is too slow")
                yield piece
                left -= len(piece)
            if response.read1(1):
                raise FetchError(f"the server sends more than the {length} bytes asked for", where=self.name)
        except (OSError, HTTPException) as error:
            raise BrokenError(f"the connection broke: {reason(error)}") from error

    def _repeat(self, attempt: Callable[[], bytes | None]) -> bytes | None:
        """What the attempt gives; when it breaks, again after a while, a few times."""
        for pause in PAUSES:
            try:
                return attempt()
            except BrokenError as broken:
                self._pause(min(max(pause, broken.wait), LONGEST_PAUSE))
        try:
            return attempt()
        except BrokenError as broken:
            raise FetchError(
                f"{broken.what} ({len(PAUSES) + 1} attempts)",
                where=self.name,
                hint="check the network and try again, or download the file and open it",
            ) from broken.__cause__

    def _changed(self) -> FetchError:
        return FetchError(
            "the file changed while it was read, or the server stopped sending parts of it",
            where=self.name,
            hint="open it again",
        )


def open_http_ranges(
    url: str,
    *,
    head: int,
    timeout: float = TIMEOUT,
    pause: Callable[[float], object] = time.sleep,
) -> tuple[HttpRanges, bytes] | None:
    """Ask for the first bytes of a file.

    Args:
        url: An `http` or `https` address.
        head: How many bytes to begin with.
        timeout: Seconds that the server may be silent.
        pause: Waits for so many seconds before an attempt is repeated.

    Returns:
        The file and its first bytes; `None` where the server sends whole files only.

    Raises:
        FetchError: The file can't be had.
    """
    ranges = HttpRanges(url, timeout=timeout, pause=pause)
    start = ranges.start(head)
    return None if start is None else (ranges, start)
