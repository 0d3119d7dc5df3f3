"""Where a redirect may lead, and what comes along."""

from __future__ import annotations

import io
from email.message import Message
from urllib.request import Request

import pytest

from torchgraft.errors import FetchError
from torchgraft.storage.web import _WebOnly


def redirect(url: str, location: str, *, secret: bool) -> Request | None:
    request = Request(url)
    if secret:
        request.add_unredirected_header("Authorization", "Basic SECRET")
    headers = Message()
    headers["Location"] = location
    headers["X-Linked-ETag"] = '"tag"'
    handler = _WebOnly()
    made: list[Request | None] = []

    class Parent:
        def open(self, req: Request, timeout: object = None) -> None:
            made.append(req)

    handler.add_parent(Parent())  # type: ignore[arg-type]
    request.timeout = 1.0
    handler.http_error_302(request, io.BytesIO(), 302, "Found", headers)
    assert handler.linked_etag == '"tag"'
    return made[0]


@pytest.mark.parametrize(
    ("url", "location", "secret", "kept"),
    [
        ("https://a/x", "https://a/y", True, True),
        ("https://a/x", "/y", True, True),
        ("https://a/x", "https://b/y", True, False),
        ("https://a/x", "https://a:8443/y", True, False),
        ("http://a/x", "https://a/y", True, False),
        ("http://a/x", "http://a/y", True, True),
        ("https://a/x", "http://a/y", False, False),
    ],
)
def test_credentials_come_along_to_the_same_host_alone(
    url: str, location: str, secret: bool, kept: bool
) -> None:
    made = redirect(url, location, secret=secret)
    assert made is not None
    assert made.has_header("Authorization") == kept


@pytest.mark.parametrize(
    ("location", "secret", "message"),
    [
        ("file:///etc/passwd", False, "not the web"),
        ("ftp://a/y", False, "not the web"),
        ("data:text/plain,x", False, "not the web"),
        ("http://a/y?token=SECRET", True, "not encrypted"),
        ("https://me:SECRET@a/y", False, "credentials of its own"),
        ("https://[/y", False, "not a valid address"),
    ],
)
def test_where_none_leads(location: str, secret: bool, message: str) -> None:
    with pytest.raises(FetchError, match=message) as caught:
        redirect("https://a/x", location, secret=secret)
    assert "SECRET" not in str(caught.value)
