"""Which texts are addresses, and that nothing secret of one is shown."""

from __future__ import annotations

import pytest

from torchgraft.storage.addresses import is_address, scheme_of, without_secrets


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("https://host/file.pth", "https"),
        ("HTTP://host/file.pth", "http"),
        ("s3://bucket/key", "s3"),
        ("hf://org/repo", "hf"),
        ("git+ssh://host/x", "git+ssh"),
        ("C://models/x.pth", ""),
        ("models/x.pth", ""),
        ("a b://x", ""),
        ("://x", ""),
    ],
)
def test_what_an_address_is(text: str, scheme: str) -> None:
    assert scheme_of(text) == scheme
    assert is_address(text) == bool(scheme)


@pytest.mark.parametrize("other", [None, 3, b"https://host/x"])
def test_nothing_but_text_is_an_address(other: object) -> None:
    assert not is_address(other)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host/a/b.pth", "https://host/a/b.pth"),
        ("https://host:8443/b.pth", "https://host:8443/b.pth"),
        ("https://me:SECRET@host/b.pth", "https://host/b.pth"),
        ("https://me:SEC@RET@host/b.pth", "https://host/b.pth"),
        ("https://host/b.pth?sig=SECRET", "https://host/b.pth?…"),
        ("https://host/b.pth?a=/x@y&sig=SECRET#SECRET", "https://host/b.pth?…"),
        ("https://host/b.pth#SECRET", "https://host/b.pth"),
        ("https://host?SECRET", "https://host?…"),
        ("s3://key:SECRET@bucket/b.pth", "s3://bucket/b.pth"),
        ("hf://org/repo@main/b.pth", "hf://org/repo@main/b.pth"),
        ("https://[SECRET", "https://[SECRET"),
        ("models/x@y?.pth", "models/x@y?.pth"),
    ],
)
def test_secrets_are_left_out(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
