"""What an answer says beside its bytes."""

from __future__ import annotations

import io
from email.message import Message
from email.utils import formatdate
from http.client import HTTPMessage, HTTPResponse
from types import SimpleNamespace
from urllib.error import HTTPError

import pytest

from torchgraft.storage import http_answers
from torchgraft.storage.http_answers import Version, content_range, wanted_pause


def answer(**headers: str) -> HTTPResponse:
    made = HTTPResponse(SimpleNamespace(makefile=lambda _mode: io.BytesIO()))  # type: ignore[arg-type]
    made.headers = HTTPMessage()
    for name, value in headers.items():
        made.headers[name.replace("_", "-")] = value
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-9/10", (0, 9, 10)),
        (" bytes 5-9/* ", (5, 9, None)),
        ("bytes */10", None),
        ("items 0-9/10", None),
        ("bytes 0-" + "9" * 30 + "/10", None),
        ("", None),
    ],
)
def test_content_range(text: str, expected: object) -> None:
    assert content_range(answer(Content_Range=text)) == expected


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"a"', "Last-Modified": "x"}, '"a"'),
        ({"ETag": 'W/"a"', "Last-Modified": "x"}, None),
        ({"Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, "Sat, 01 Jan 2022 00:00:00 GMT"),
        ({}, None),
    ],
)
def test_what_if_range_takes(headers: dict[str, str], condition: str | None) -> None:
    assert Version.of(answer(**headers)).condition == condition


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("9999999", 30),
        ("-1", 0),
        ("", 0),
        ("soon", 0),
        (formatdate(1020, usegmt=True), 20),
        (formatdate(900, usegmt=True), 0),
    ],
)
def test_retry_after(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_answers.time, "time", lambda: 1000.0)
    headers = Message()
    headers["Retry-After"] = text
    assert wanted_pause(HTTPError("http://x", 429, "Too Many", headers, None)) == seconds
