"""Downloads from a server of our own: verified, cached, found elsewhere, and nothing half done is served."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import torchgraft as tg
from torchgraft.errors import FetchError
from torchgraft.storage import download
from torchgraft.storage.cache_place import Place
from torchgraft.storage.download import cache_folder, fetch, find_fetched
from torchgraft.storage.download_event import DownloadEvent

BODY = b"weights" * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    asked: list[str]
    secrets: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.secrets.append(self.headers.get("Authorization"))
        path = self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if name == "absent.pth" or path.startswith("/absent/") or name.endswith(".sha256"):
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
    for variable in ("TORCHGRAFT_MIRROR", "TORCHGRAFT_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(download, "_pause", lambda _: None)
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked, running.secrets = [], []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def address(server: Server, name: str, user: str = "") -> str:
    return f"http://{user}127.0.0.1:{server.server_port}/a/{name}"


def files() -> list[str]:
    found = [path for path in cache_folder().rglob("*") if path.is_file() and path.suffix != ".lock"]
    return sorted(path.name for path in found if path.name != ".record.json")


@pytest.mark.parametrize(
    "name", ["model.pth", "moved.pth", f"model-{DIGEST[:8]}.pth", "ein%20modell.pth?x=1"]
)
def test_a_file_comes_once(name: str, server: Server) -> None:
    first = fetch(address(server, name))
    assert first.read_bytes() == BODY
    asked = len(server.asked)
    assert fetch(address(server, name)) == first
    assert find_fetched(address(server, name)) == first
    assert len(server.asked) == asked
    assert files() == [first.name]


def test_it_is_public() -> None:
    assert tg.fetch is fetch


def test_the_digest_decides(server: Server) -> None:
    assert fetch(address(server, "model.pth"), sha256=DIGEST.upper()).read_bytes() == BODY
    with pytest.raises(FetchError, match="wrong bytes"):
        fetch(address(server, "other.pth"), sha256="0" * 64)
    with pytest.raises(FetchError, match="wrong bytes"):
        fetch(address(server, "model-00000000.pth"))
    assert files() == ["model.pth"]


def test_a_digest_that_is_none(server: Server) -> None:
    with pytest.raises(FetchError, match="is no SHA-256"):
        fetch(address(server, "model.pth"), sha256=DIGEST[:8])
    assert server.asked == []


def test_another_digest_than_that_of_the_cached_file(server: Server) -> None:
    fetch(address(server, "model.pth"))
    with pytest.raises(FetchError, match="wrong bytes"):
        fetch(address(server, "model.pth"), sha256="0" * 64)


@pytest.mark.parametrize("sha256", [None, DIGEST])
def test_a_cached_file_that_changed_is_fetched_again(sha256: str | None, server: Server) -> None:
    path = fetch(address(server, "model.pth"), sha256=sha256)
    path.write_bytes(b"tampered")
    assert fetch(address(server, "model.pth"), sha256=sha256).read_bytes() == BODY
    asked = len(server.asked)
    os.utime(path, ns=(1, 1))  # another time, the same bytes: read, found right, and noted
    assert fetch(address(server, "model.pth")) == path
    assert json.loads((path.parent / ".record.json").read_text())["modified"] == 1
    assert len(server.asked) == asked


def test_a_file_that_is_as_it_was_is_not_read_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(address(server, "model.pth"))
    monkeypatch.setattr("torchgraft.storage.cache_record.sha256_of", None)  # calling it would fail
    assert fetch(address(server, "model.pth"), sha256=DIGEST) == path


def test_a_file_put_there_by_hand_is_taken(server: Server) -> None:
    place = Place.of(address(server, "absent.pth"))
    place.folder.mkdir(parents=True)
    place.file.write_bytes(BODY)
    assert fetch(address(server, "absent.pth")) == place.file
    assert server.asked == []


@pytest.mark.parametrize(("content", "used"), [(BODY, True), (b"other", False)])
def test_torch_hubs_cache_is_used_when_it_is_right(
    content: bytes, used: bool, server: Server, tmp_path: Path
) -> None:
    name = f"model-{DIGEST[:8]}.pth"
    hub = tmp_path / "torch" / "hub" / "checkpoints" / name
    hub.parent.mkdir(parents=True)
    hub.write_bytes(content)
    for _ in range(2):
        assert (fetch(address(server, name)) == hub) == used
    assert bool(server.asked) != used


def test_torch_hubs_file_without_a_digest_is_not_used(server: Server, tmp_path: Path) -> None:
    hub = tmp_path / "torch" / "hub" / "checkpoints" / "model.pth"
    hub.parent.mkdir(parents=True)
    hub.write_bytes(b"another model")
    assert fetch(address(server, "model.pth")).read_bytes() == BODY


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
    assert find_fetched(url) is None


def test_nobody_answers(server: Server) -> None:
    server.server_close()
    port = server.server_port
    server.shutdown()
    with pytest.raises(FetchError, match="can't be reached") as caught:
        fetch(f"http://127.0.0.1:{port}/x.pth")
    assert str(cache_folder()) in str(caught.value.hint)


def test_credentials_go_nowhere_but_to_their_host(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = address(server, "model.pth?token=SECRET", user="me:SECRET@")
    path = fetch(url)
    path.write_bytes(b"other")
    fetch(url)
    with pytest.raises(FetchError) as caught:
        fetch(address(server, "absent.pth?token=SECRET", user="me:SECRET@"))
    kept = [file for file in cache_folder().rglob("*") if file.is_file() and file.suffix == ".json"]
    assert kept
    said: list[str] = []
    error: BaseException | None = caught.value
    while error is not None:
        said += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    seen = caplog.text + "".join(said) + "".join(map(Path.read_text, kept))
    assert "SECRET" not in seen
    assert "SECRET" not in "".join(str(file) for file in cache_folder().rglob("*"))
    assert all(server.secrets)


def test_a_proxy_of_the_environment_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    url = "http://weights.invalid/model.pth"
    assert fetch(url).read_bytes() == BODY
    assert server.asked == [url, f"{url}.sha256"]


def test_what_a_download_tells(server: Server) -> None:
    events: list[DownloadEvent] = []
    fetch(address(server, "model.pth"), on_event=events.append)
    assert {event.name for event in events} == {"model.pth"}
    last = events[-1]
    assert (last.stage, last.received, last.total) == ("downloading", len(BODY), len(BODY))
    events.clear()
    with pytest.raises(FetchError):
        fetch(address(server, "short.pth"), on_event=events.append)
    retrying = [event for event in events if event.stage == "retrying"]
    assert len(retrying) == 4
    assert "broke off" in retrying[0].why


def test_an_interrupt_by_the_caller_keeps_nothing_that_is_in_the_way(server: Server) -> None:
    def stop(_: DownloadEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(address(server, "model.pth"), on_event=stop)
    assert fetch(address(server, "model.pth")).read_bytes() == BODY


@pytest.mark.parametrize("beside", [None, DIGEST, f"{'0' * 64}  other.pth\n{DIGEST} *model.pth\n"])
def test_a_folder_that_mirrors(
    beside: str | None, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHGRAFT_MIRROR", str(tmp_path / "mirror"))
    mirrored = tmp_path / "mirror" / "model.pth"
    mirrored.parent.mkdir()
    mirrored.write_bytes(BODY)
    if beside is not None:
        (tmp_path / "mirror" / "model.pth.sha256").write_text(beside)
    assert fetch(address(server, "model.pth")) == mirrored
    assert server.asked == []
    mirrored.write_bytes(b"other")
    taken = fetch(address(server, "model.pth"))
    assert (taken == mirrored) == (beside is None)
    assert taken.read_bytes() == (b"other" if beside is None else BODY)


def test_a_mirror_on_the_web(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHGRAFT_MIRROR", address(server, ""))
    assert fetch("http://weights.invalid/v2/model.pth").read_bytes() == BODY
    assert server.asked == ["/a/model.pth", "/a/model.pth.sha256"]


def test_a_mirror_that_lacks_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TORCHGRAFT_MIRROR", f"http://127.0.0.1:{server.server_port}/absent/")
    assert fetch(address(server, "model.pth")).read_bytes() == BODY
    assert "its own server is asked" in caplog.text
    assert server.asked[:2] == ["/absent/model.pth", "/a/model.pth"]


def test_offline(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = fetch(address(server, "model.pth"))
    asked = len(server.asked)
    monkeypatch.setenv("TORCHGRAFT_OFFLINE", "1")
    assert fetch(address(server, "model.pth")) == kept
    with pytest.raises(FetchError, match="offline") as caught:
        fetch(address(server, "other.pth"))
    place = Place.of(address(server, "other.pth"))
    assert f"put it at {place.file}" in str(caught.value.hint)
    assert "TORCHGRAFT_MIRROR to a folder that holds other.pth" in str(caught.value.hint)
    with pytest.raises(FetchError, match="offline"):
        tg.open(address(server, "other.pth"))
    place.folder.mkdir()
    place.file.write_bytes(BODY)
    assert fetch(address(server, "other.pth")) == place.file
    assert len(server.asked) == asked


def test_offline_with_a_damaged_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = fetch(address(server, "model.pth"))
    kept.write_bytes(b"other")
    monkeypatch.setenv("TORCHGRAFT_OFFLINE", "1")
    with pytest.raises(FetchError, match="not the one that it should be") as caught:
        fetch(address(server, "model.pth"))
    record = Place.of(address(server, "model.pth")).record
    assert f"remove {record}" in str(caught.value.hint)
    record.unlink()
    assert fetch(address(server, "model.pth")).read_bytes() == b"other"  # the user's word


def test_a_full_disk_is_told_before(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from shutil import _ntuple_diskusage

    monkeypatch.setattr("shutil.disk_usage", lambda _: _ntuple_diskusage(10**9, 10**9 - 5, 5))
    with pytest.raises(FetchError, match=r"7,000 bytes, and the cache's disk has room for 5"):
        fetch(address(server, "model.pth"))
    assert files() == []


def test_opening_takes_what_was_fetched(server: Server, tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.arange(3.0)}, tmp_path / "w.pth")
    place = Place.of(address(server, "w.pth"))
    place.folder.mkdir(parents=True)
    place.file.write_bytes((tmp_path / "w.pth").read_bytes())
    assert tg.open(address(server, "w.pth"))["w"].read().tolist() == [0, 1, 2]
    assert server.asked == []
