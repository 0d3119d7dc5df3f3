"""Files beside a file on a web server: found by name, on that host and in that folder alone."""

from __future__ import annotations

import base64
from dataclasses import replace
from email.message import Message
from typing import TYPE_CHECKING

import pytest

from torchgraft.errors import CheckpointError, FetchError, UnsafeCheckpointError
from torchgraft.storage.web_folder import WebFolder

if TYPE_CHECKING:
    from .conftest import Answer, RangeServer

OUTER = [
    "../secret",
    "sub/../../secret",
    "..",
    "",
    "/secret",
    "//evil/secret",
    "\\secret",
    "..\\x",
    "C:x",
    "x\0",
]


def folder_of(server: RangeServer, *, user: str = "") -> WebFolder:
    server.files |= {"repo/index.json": b"{}", "repo/a": b"aaa", "repo/sub/b": b"bb", "secret": b"secret"}
    return WebFolder(server.address("repo/index.json", user=user) + "?token=SECRET")


def test_what_is_in_it(server: RangeServer) -> None:
    folder = folder_of(server)
    assert (folder.name, folder.path) == (server.address("repo"), None)
    assert (folder.files, folder.folders) == (("index.json",), ())
    assert (folder.size("./a"), folder.size("sub//b"), folder.size("no")) == (3, 2, None)
    assert bytes(folder.open("a").view(0, 3)) == b"aaa"
    assert bytes(folder.inner("sub").open("b").view(0, 2)) == b"bb"
    with pytest.raises(CheckpointError, match=r"repo/no: no such file"):
        folder.open("no")


def test_a_file_is_asked_for_once(server: RangeServer) -> None:
    folder = folder_of(server)
    for _ in range(3):
        assert folder.size("a") == 3
        assert folder.open("a").size == 3
        assert folder.size("no") is None
    assert server.log.requests == 2


@pytest.mark.parametrize("name", OUTER)
def test_no_path_leads_out(name: str, server: RangeServer) -> None:
    folder = folder_of(server)
    for ask in (folder.open, folder.size, folder.inner):
        with pytest.raises(UnsafeCheckpointError, match="leads out") as caught:
            ask(name)
        assert caught.value.where == server.address("repo")
    assert server.log.requests == 0


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("http://evil/x", "/repo/http%3A/evil/x"),
        ("%2e%2e/secret", "/repo/%252e%252e/secret"),
        ("a?b#c", "/repo/a%3Fb%23c"),
        ("@evil/x", "/repo/%40evil/x"),
        ("ü ber", "/repo/%C3%BC%20ber"),
        ("\ud800\n", "/repo/%ED%A0%80%0A"),
    ],
)
def test_nothing_in_a_name_is_an_address(name: str, asked: str, server: RangeServer) -> None:
    """Whatever it looks like, it is asked of the same host, in the same folder, with the same query."""
    folder = folder_of(server)
    paths = []

    def note(_before: int, answer: Answer, _asked: Message) -> Answer:
        return answer

    server.lie = note
    handler = server.RequestHandlerClass
    original = handler.do_GET  # type: ignore[attr-defined]

    def do_GET(self: object) -> None:  # noqa: N802
        paths.append(self.path)  # type: ignore[attr-defined]
        original(self)

    handler.do_GET = do_GET  # type: ignore[attr-defined]
    try:
        assert folder.size(name) is None
    finally:
        handler.do_GET = original  # type: ignore[attr-defined]
    assert paths == [f"{asked}?token=SECRET"]


def test_user_and_password_go_along(server: RangeServer) -> None:
    folder = folder_of(server, user="me:SECRET@")
    assert folder.size("a") == 3
    token = base64.b64encode(b"me:SECRET").decode()
    assert [headers["Authorization"] for headers in server.log.headers] == [f"Basic {token}"]
    assert "SECRET" not in folder.name + folder.open("a").name


@pytest.mark.parametrize("status", [401, 403, 418])
def test_what_is_not_told_to_be_absent_is_an_error(status: int, server: RangeServer) -> None:
    folder = folder_of(server)

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        return replace(answer, status=status, body=b"").but(Content_Range=None, Content_Length="0")

    server.lie = lie
    with pytest.raises(FetchError, match=rf"repo/a\?…: the server answers {status}"):
        folder.size("a")
