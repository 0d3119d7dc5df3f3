"""Which digest a file must have: by its name, its server's headers, or a file beside it."""

from __future__ import annotations

import base64
import hashlib
from email.message import Message
from pathlib import Path

import pytest

from torchgraft.errors import FetchError
from torchgraft.storage.known_digest import digest_beside, digest_given, digest_in_headers, digest_in_name

RAW = hashlib.sha256(b"x").digest()
HEX = RAW.hex()
BASE64 = base64.b64encode(RAW).decode()


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("resnet152-394f9c45.pth", "394f9c45"),
        ("resnet50_8xb32_in1k_20210831-ea4938fa.pth", "ea4938fa"),
        (f"net-{HEX}.bin", HEX),
        ("net-20240131.pth", None),  # a date
        ("net-20241331.pth", "20241331"),  # no date
        ("net-1234567.pth", None),
        ("net-394F9C45.pth", None),
        ("394f9c45.pth", None),
        ("net-394f9c45", None),
        ("net-394f9c45.tar.gz", None),
    ],
)
def test_in_a_name(name: str, digest: str | None) -> None:
    assert digest_in_name(name) == digest


@pytest.mark.parametrize(
    ("headers", "digest"),
    [
        ({"X-Linked-ETag": f'"{HEX}"'}, HEX),
        ({"ETag": f'"{HEX}"'}, None),  # of what, nobody says
        ({"Repr-Digest": f"sha-256=:{BASE64}:"}, HEX),
        ({"Repr-Digest": f"sha-512=:AAAA:, sha-256=:{BASE64}:"}, HEX),
        ({"Digest": f"SHA-256={BASE64}"}, HEX),
        ({"x-amz-checksum-sha256": BASE64}, HEX),
        ({"x-amz-checksum-sha256": f"{BASE64}-3"}, None),  # of three parts' digests
        ({"Digest": "sha-256=AAAA"}, None),
        ({"Content-Digest": f"sha-256=:{BASE64}:"}, None),  # of what is sent, which may be a part
        ({}, None),
    ],
)
def test_in_headers(headers: dict[str, str], digest: str | None) -> None:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    assert digest_in_headers(message) == digest


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (HEX, HEX),
        (f"{HEX.upper()}\n", HEX),
        (f"{HEX}  net.pth\n", HEX),
        (f"{HEX}  renamed.pth\n", HEX),
        (f"{'0' * 64}  other.pth\n{HEX} *net.pth\n", HEX),
        (f"{'0' * 64}  other.pth\n{HEX}  ./net.pth\n", HEX),
        (f"{'0' * 64}  other.pth\n{HEX}  another.pth\n", None),
        ("<html>not found</html>", None),
        ("", None),
    ],
)
def test_beside_a_file(text: str, digest: str | None, tmp_path: Path) -> None:
    assert digest_beside(tmp_path / "net.pth") is None
    (tmp_path / "net.pth.sha256").write_text(text)
    assert digest_beside(tmp_path / "net.pth") == digest


def test_given() -> None:
    assert digest_given(None, where="x") is None
    assert digest_given(HEX.upper(), where="x") == HEX
    for wrong in ("", HEX[:8], HEX + "0", "g" * 64):
        with pytest.raises(FetchError, match="no SHA-256"):
            digest_given(wrong, where="x")
