"""Which SHA-256 a file must have: what its name, its server or a file beside it says."""

from __future__ import annotations

import base64
import binascii
import re
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from torchgraft.errors import FetchError
from torchgraft.storage.web import send

__all__ = ["digest_beside", "digest_given", "digest_in_headers", "digest_in_name", "digest_on_server"]

_IN_NAME = re.compile(r"-([0-9a-f]{8,64})(?=\.[^.]*$)")
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_WHOLE = re.compile(r"[0-9a-fA-F]{64}")
_MOST = 1 << 16
_TIMEOUT = 10.0


def digest_given(sha256: str | None, *, where: str) -> str | None:
    """What the caller gave, in lower case.

    Raises:
        FetchError: It is no SHA-256.
    """
    if sha256 is None:
        return None
    if not _WHOLE.fullmatch(sha256):
        raise FetchError(
            f"sha256={sha256[:80]!r} is no SHA-256", where=where, hint="give all of its 64 hexadecimal digits"
        )
    return sha256.lower()


def digest_in_name(name: str) -> str | None:
    """The first digits, PyTorch's custom: `resnet152-394f9c45.pth`. A date (`net-20240131.pth`) is none."""
    found = _IN_NAME.search(name)
    return found[1] if found and not _DATE.fullmatch(found[1]) else None


def digest_in_headers(headers: Message) -> str | None:
    """What a server says of the whole file, by the Hugging Face hub's custom, RFC 9530, RFC 3230 or S3's."""
    # Nobody but the hub promises that a tag is a digest of the bytes.
    if _WHOLE.fullmatch(tag := (headers.get("X-Linked-ETag") or "").strip('"')):
        return tag.lower()
    found = re.search(r"sha-256=:([\w+/=]+):", headers.get("Repr-Digest") or "", re.IGNORECASE)
    found = found or re.search(r"sha-256=([\w+/=]+)", headers.get("Digest") or "", re.IGNORECASE)
    text = found[1] if found else headers.get("x-amz-checksum-sha256") or ""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None  # S3's of a file in several parts is another thing
    return raw.hex() if len(raw) == 32 else None


def digest_on_server(url: str, name: str, timeout: float) -> str | None:
    """What `<address>.sha256` says, if there is such a file."""
    parts = urlsplit(url)
    sidecar = urlunsplit(parts._replace(path=f"{parts.path}.sha256"))
    try:
        with send(sidecar, timeout=min(timeout, _TIMEOUT)) as response:
            text = response.read(_MOST) if response.status == 200 else b""
    except (OSError, HTTPException, FetchError):
        return None
    return _of_lines(text, name)


def digest_beside(path: Path) -> str | None:
    """What `<path>.sha256` says, if there is such a file."""
    try:
        with path.with_name(f"{path.name}.sha256").open("rb") as file:
            return _of_lines(file.read(_MOST), path.name)
    except OSError:
        return None


def _of_lines(text: bytes, name: str) -> str | None:
    """A digest alone, or what `sha256sum` writes, of one file or several."""
    lines = [line.split() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    digests = [line[0].removeprefix("\\").lower() for line in lines if _WHOLE.fullmatch(line[0].lstrip("\\"))]
    if len(lines) == 1 and digests:
        return digests[0]
    for line in lines:
        if _WHOLE.fullmatch(line[0]) and len(line) == 2 and Path(line[1].lstrip("*")).name == name:
            return line[0].lower()
    return None
