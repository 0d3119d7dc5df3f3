"""Requests to web servers: credentials go to their host alone, redirects stay on the web."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPResponse, InvalidURL
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from torchgraft.errors import FetchError
from torchgraft.storage.addresses import without_secrets

__all__ = ["TIMEOUT", "reason", "send"]

TIMEOUT = 30.0
"""Seconds that a server may be silent."""

_SCHEMES = {"http", "https"}
_PLAIN = "!$%&'()*+,/:;=?@[]~"  # what an address may hold as it is, beside letters, digits and _.-


def send(url: str, headers: Mapping[str, str] | None = None, *, timeout: float = TIMEOUT) -> HTTPResponse:
    """Ask a server for `url`; `user:password@` in it becomes basic authentication.

    Raises:
        FetchError: The address is not one of the web, or the server redirects elsewhere.
        urllib.error.HTTPError: The server answers with an error.
        OSError, http.client.HTTPException: It can't be reached, or breaks off.
    """
    parts = _split(url)
    user, at, host = parts.netloc.rpartition("@")
    path, query = quote(parts.path, safe=_PLAIN), quote(parts.query, safe=_PLAIN)
    plain = urlunsplit((parts.scheme, host, path, query, ""))
    known = {"User-Agent": "torchgraft", "Accept-Encoding": "identity", **(headers or {})}
    request = Request(plain, headers=known)  # noqa: S310 (scheme checked)
    if at:
        token = base64.b64encode(unquote(user if ":" in user else f"{user}:").encode()).decode("ascii")
        request.add_unredirected_header("Authorization", f"Basic {token}")
    redirects = _WebOnly()
    try:
        response = build_opener(redirects).open(request, timeout=timeout)
    except HTTPError as error:
        if not 300 <= error.code < 400:
            raise
        error.close()  # its message holds the whole address
        raise FetchError("the server redirects in a circle", where=without_secrets(url)) from None
    except (ValueError, InvalidURL):
        what = "this, or what the server redirects to, is not a valid address"
        raise FetchError(what, where=without_secrets(url)) from None  # the message holds the whole address
    assert isinstance(response, HTTPResponse)
    if redirects.linked_etag and "X-Linked-ETag" not in response.headers:
        response.headers["X-Linked-ETag"] = redirects.linked_etag
    return response


def reason(error: Exception) -> str:
    """What the network said."""
    return str(error.reason if isinstance(error, URLError) else error) or type(error).__name__


class _WebOnly(HTTPRedirectHandler):
    """Follows redirects, but never from the web to the local disk or elsewhere.

    Attributes:
        linked_etag: What the server that was asked says of the file that it sends one on to, as the
            Hugging Face hub does.
    """

    linked_etag: str | None = None

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> HTTPResponse | None:
        """Follow a redirect, once it is known where it leads."""
        try:
            secret = "Authorization" in req.unredirected_hdrs
            _check_redirect(req.full_url, headers.get("Location") or "", secret=secret)
        except FetchError:
            fp.close()
            raise
        return super().http_error_302(req, fp, code, msg, headers)  # type: ignore[arg-type]

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        """The next request; credentials come along to the same host alone."""
        known = 307 if code == 308 else code  # Python 3.10 does not know 308
        if self.linked_etag is None:
            self.linked_etag = headers.get("X-Linked-ETag") or ""
        made = super().redirect_request(req, fp, known, msg, headers, newurl)  # type: ignore[arg-type]
        token = req.unredirected_hdrs.get("Authorization")
        if made is not None and token and _origin(req.full_url) == _origin(newurl):
            made.add_unredirected_header("Authorization", token)
        return made


def _check_redirect(url: str, location: str, *, secret: bool) -> None:
    where = without_secrets(url)
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        raise FetchError("the server redirects to what is not a valid address", where=where) from None
    shown = without_secrets(parts.geturl()) if parts.netloc else f"{parts.scheme}:…"
    if parts.scheme not in _SCHEMES:
        raise FetchError(f"the server redirects to {shown!r}, which is not the web", where=where)
    if secret and url.startswith("https:") and parts.scheme == "http":
        what = f"the server redirects a request with credentials to {shown!r}, which is not encrypted"
        raise FetchError(what, where=where, hint="use an address that does not need them, or another server")
    if "@" in parts.netloc:
        raise FetchError(f"the server redirects to {shown!r} with credentials of its own", where=where)


def _split(url: str) -> SplitResult:
    invalid = FetchError("this is not a valid address", where=without_secrets(url))
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise invalid from None  # its message may hold the password
    if parts.scheme not in _SCHEMES:
        raise FetchError(
            f"addresses of the kind {parts.scheme!r} are not fetched",
            where=without_secrets(url),
            hint="use http or https",
        )
    if not parts.hostname or any(ord(letter) < 32 for letter in url):
        raise invalid
    return parts


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
