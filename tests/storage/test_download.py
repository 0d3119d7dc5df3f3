"""Downloads from a server of our own: verified, cached, and nothing half done is kept."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from torchgraft.errors import FetchError
from torchgraft.storage.download import cache_folder, fetch

BODY = b"weights" * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if name == "absent.pth":
            self.send_error(404)
            return
        if name.startswith("moved"):
            self.send_response(302)
            self.send_header("Location", {"moved.pth": "/model.pth"}.get(name, "ftp://127.0.0.1/x.pth"))
            self.end_headers()
            return
        body = {"page.pth": b" <!DOCTYPE html><html>", "empty.pth": b""}.get(name, BODY)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (name == "short.pth")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def address(server: Server, name: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/a/{name}"


def files() -> list[str]:
    return [path.name for path in cache_folder().rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize(
    "name", ["model.pth", "moved.pth", f"model-{DIGEST[:8]}.pth", "ein%20modell.pth?x=1"]
)
def test_a_file_comes_once(name: str, server: Server) -> None:
    first = fetch(address(server, name))
    assert first.read_bytes() == BODY
    asked = len(server.asked)
    assert fetch(address(server, name)) == first
    assert len(server.asked) == asked


def test_the_digest_decides(server: Server) -> None:
    assert fetch(address(server, "model.pth"), sha256=DIGEST.upper()).read_bytes() == BODY
    with pytest.raises(FetchError, match="wrong bytes"):
        fetch(address(server, "other.pth"), sha256="0" * 64)
    with pytest.raises(FetchError, match="wrong bytes"):
        fetch(address(server, "model-00000000.pth"))
    assert files() == ["model.pth"]


def test_a_cached_file_that_changed_is_fetched_again(server: Server) -> None:
    path = fetch(address(server, "model.pth"), sha256=DIGEST)
    path.write_bytes(b"tampered")
    assert fetch(address(server, "model.pth"), sha256=DIGEST).read_bytes() == BODY


@pytest.mark.parametrize(("content", "used"), [(BODY, True), (b"other", False)])
def test_torch_hubs_cache_is_used_when_it_is_right(
    content: bytes, used: bool, server: Server, tmp_path: Path
) -> None:
    name = f"model-{DIGEST[:8]}.pth"
    hub = tmp_path / "torch" / "hub" / "checkpoints" / name
    hub.parent.mkdir(parents=True)
    hub.write_bytes(content)
    assert (fetch(address(server, name)) == hub) == used
    assert bool(server.asked) != used


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.pth", "404"),
        ("page.pth", "web page"),
        ("empty.pth", "empty"),
        ("short.pth", "broke"),
        ("moved-away.pth", "not the web"),
    ],
)
def test_what_goes_wrong_is_told_and_leaves_nothing(name: str, message: str, server: Server) -> None:
    with pytest.raises(FetchError, match=message):
        fetch(address(server, name))
    assert files() == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x/y.pth", "http://127.0.0.1/", "model.pth"])
def test_only_files_on_the_web(url: str) -> None:
    with pytest.raises(FetchError):
        fetch(url)


def test_nobody_answers(server: Server) -> None:
    server.server_close()
    port = server.server_port
    server.shutdown()
    with pytest.raises(FetchError, match="can't be reached") as caught:
        fetch(f"http://127.0.0.1:{port}/x.pth")
    assert str(cache_folder()) in str(caught.value.hint)
