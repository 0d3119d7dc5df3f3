"""What an answer of a web server says beside its bytes: which version it is of, and whether to ask again."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from urllib.error import HTTPError

__all__ = ["BUSY", "LONGEST_PAUSE", "PAUSES", "BrokenError", "Version", "content_range", "wanted_pause"]

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before an attempt is repeated; when they are used up, it is given up."""

LONGEST_PAUSE = 30.0
"""However long a server asks one to wait."""

BUSY = {408, 429, 500, 502, 503, 504}
"""Answers that may be others when one asks again."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class BrokenError(Exception):
    """An attempt failed that may go well when it is repeated."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        self.what = what
        self.wait = wait
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Version:
    """What tells a file from what is later behind the same address."""

    etag: str | None = None
    modified: str | None = None

    @classmethod
    def of(cls, response: HTTPResponse) -> Version:
        """What the answer says."""
        etag = response.headers.get("ETag")
        return cls(etag, None if etag else response.headers.get("Last-Modified"))

    @property
    def condition(self) -> str | None:
        """For `If-Range`, which takes no weak tags."""
        return self.modified if self.etag is None else self.etag if self.etag.startswith('"') else None


def content_range(response: HTTPResponse) -> tuple[int, int, int | None] | None:
    """The first byte, the last and the file's length, of an answer that is a part; `None` if it says none."""
    found = _CONTENT_RANGE.fullmatch((response.headers.get("Content-Range") or "").strip())
    if found is None:
        return None
    first, last, total = found.groups()
    return int(first), int(last), None if total == "*" else int(total)


def wanted_pause(error: HTTPError) -> float:
    """The seconds that `Retry-After` asks for, as a number or as a date; 0 if it asks for none."""
    text = (error.headers.get("Retry-After") or "").strip()
    if text.isdigit() and text.isascii():
        return float(text) if len(text) < 6 else LONGEST_PAUSE
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
