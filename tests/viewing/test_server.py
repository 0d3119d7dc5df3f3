"""The viewer over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import run_folders
from torchgraft.errors import DataError
from torchgraft.viewing import Runs, Viewer


class Fixed:
    """What is shown, told by the test."""

    def __init__(self) -> None:
        self.text, self.number = "<p>page</p>", "1"

    def revision(self):
        return self.number

    def html(self, *, live=False):
        if isinstance(self.text, Exception):
            raise self.text
        return self.text


def ask(
    viewer: Viewer, path: str | None = None, method: str = "GET", host: str | None = None, **headers: str
):
    """A response, its body as text."""
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    given = {"Host": host} if host else {}
    connection.request(method, f"/{viewer.token}/" if path is None else path, headers={**given, **headers})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def raw(viewer: Viewer, data: bytes) -> bytes:
    """Whatever comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", viewer.server_port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


def test_a_page_and_its_headers(serve):
    response, body = ask(serve(Fixed()))
    assert (response.status, body) == (200, "<p>page</p>")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert "Python" not in response.headers["Server"]


def test_it_listens_on_this_machine_only(serve):
    viewer = serve(Fixed())
    assert viewer.socket.getsockname()[0] == "127.0.0.1"
    assert viewer.url == f"http://127.0.0.1:{viewer.server_port}/{viewer.token}/"


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 403),
        ("/wrong/", "GET", {}, 403),
        (None, "GET", {"host": "evil.example"}, 403),
        (None, "GET", {"Origin": "http://evil.example"}, 403),
        (None, "POST", {}, 405),
        (None, "PUT", {}, 405),
        (None, "DELETE", {}, 405),
        (None, "OPTIONS", {}, 405),
        (None, "HEAD", {}, 405),
        (None, "BREW", {}, 405),
    ],
)
def test_what_is_refused(serve, path, method, headers, status):
    viewer = serve(Fixed())
    response, body = ask(viewer, path, method, **headers)
    assert response.status == status
    assert viewer.token not in body
    assert "page" not in body.replace("pages", "")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert (response.headers["Allow"] == "GET") == (status == 405)


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/secret",
        "/config.json",
        "//etc/passwd",
        "/news/..",
        "/\\..",
    ],
)
def test_no_path_leads_to_a_file(serve, tmp_path, path):
    (tmp_path / "secret").write_text("secret")
    viewer = serve(Runs((run_folders.finished(tmp_path / "run", epochs=1),)))
    response, body = ask(viewer, f"/{viewer.token}{path}")
    assert (response.status, body) == (404, "there is no such page\n")


def test_without_the_last_slash(serve):
    viewer = serve(Fixed())
    response, _ = ask(viewer, f"/{viewer.token}")
    assert (response.status, response.headers["Location"]) == (301, f"/{viewer.token}/")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET <script>alert(1)</script>\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_request(serve, data):
    viewer = serve(Fixed())
    found = raw(viewer, data)
    assert b"script" not in found
    assert b"200" not in found.split(b"\r\n")[0]
    assert ask(viewer)[0].status == 200


def test_two_hosts_are_none(serve):
    viewer = serve(Fixed())
    line = f"GET /{viewer.token}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert b" 200 " in raw(viewer, f"{line}\r\n".encode()).split(b"\r\n")[0]
    assert b" 403 " in raw(viewer, f"{line}Host: evil.example\r\n\r\n".encode()).split(b"\r\n")[0]


def test_news_come_only_when_there_are_any(serve):
    what = Fixed()
    viewer = serve(what)
    news = f"/{viewer.token}/news?since="
    response, body = ask(viewer, news + "1", Origin=f"http://127.0.0.1:{viewer.server_port}")
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(body) == {"page": None}
    what.number, what.text = "2", "<p>more</p>"
    assert json.loads(ask(viewer, news + "1")[1]) == {"page": "<p>more</p>"}
    assert json.loads(ask(viewer, news + "2")[1]) == {"page": None}


def test_an_error_is_told_and_the_viewer_goes_on(serve):
    what = Fixed()
    viewer = serve(what)
    what.text = DataError("not JSON", where="config.json")
    response, body = ask(viewer)
    assert response.status == 500
    assert "not JSON" in body
    what.text = "<p>again</p>"
    assert ask(viewer)[1] == "<p>again</p>"


def test_a_slow_client_is_in_nobodys_way(serve):
    viewer = serve(Fixed())
    with socket.create_connection(("127.0.0.1", viewer.server_port), timeout=20) as slow:
        slow.sendall(b"GET / HT")
        assert ask(viewer)[0].status == 200


def test_a_slow_client_is_hung_up_on(serve):
    viewer = serve(Fixed(), patience=0.05)
    with socket.create_connection(("127.0.0.1", viewer.server_port), timeout=20) as slow:
        slow.sendall(b"GET / HT")
        assert slow.recv(100) == b""


def test_too_many_at_once_are_turned_away_and_places_come_back(serve):
    viewer = serve(Fixed())
    held = [socket.create_connection(("127.0.0.1", viewer.server_port), timeout=20) for _ in range(16)]
    for connection in held:
        connection.sendall(b"GET")
    with socket.create_connection(("127.0.0.1", viewer.server_port), timeout=20) as late:
        assert late.recv(100) == b""
    for connection in held:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1000):
            pass
        connection.close()
    viewer_answers = threading.Event()
    while not viewer_answers.is_set():  # a place is given back just after its connection is closed
        try:
            assert ask(viewer)[0].status == 200
            viewer_answers.set()
        except (ConnectionError, http.client.HTTPException):
            continue


def test_many_ask_at_the_same_time(serve, tmp_path):
    viewer = serve(Runs((run_folders.finished(tmp_path / "run", epochs=2),)))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ask(viewer), range(24)))
    assert {response.status for response, _ in found} == {200}
    assert len({body for _, body in found}) == 1


def test_a_run_is_shown_as_it_is_now(serve, tmp_path):
    run_folders.config(tmp_path / "run")
    viewer = serve(Runs((tmp_path / "run",)))
    assert "No epoch has ended yet." in ask(viewer)[1]
    run_folders.add_epoch(tmp_path / "run", 1)
    assert "epoch 1 of 10" in ask(viewer)[1]


def test_hostile_names_are_escaped(serve, tmp_path):
    evil = "<script>alert(1)</script>\u202egpj\n'\"><img src=x>"
    folder = tmp_path / "ru\nn<b>"
    run_folders.finished(folder, classes=(evil, "b" * 10_000, "\udcff"), epochs=1, data=evil, notes=[evil])
    _, body = ask(serve(Runs((folder,))))
    assert "<script>alert" not in body
    assert "\u202e" not in body
    assert "<img src=x" not in body
    assert "n<b>" not in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202egpj\\n" in body


def test_a_port_that_is_taken(serve):
    viewer = serve(Fixed())
    with pytest.raises(DataError, match="can't be used") as error:
        Viewer(Fixed(), port=viewer.server_port)
    assert "--port" in error.value.hint


def test_nothing_is_left_open(serve):
    viewer = serve(Fixed())
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("this system doesn't list what a process has open")
    before = len(list(opened.iterdir()))
    for _ in range(20):
        ask(viewer)
    assert len(list(opened.iterdir())) <= before + 2  # the last ones may just be closing
