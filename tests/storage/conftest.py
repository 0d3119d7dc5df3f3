"""A web server of our own that sends parts of files, counts what it sends, and lies where it is told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

import pytest


@dataclass(frozen=True)
class Answer:
    """What the server sends; `broken_after` closes the connection after so many bytes of the body.

    `stalled_after` sends no more after so many, until the test is over; `meanwhile` is called then instead.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""
    broken_after: int | None = None
    stalled_after: int | None = None
    meanwhile: Callable[[], object] | None = None

    def but(self, **headers: str | None) -> Answer:
        """The same with other headers; `None` leaves one out."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {**self.headers, **changed}
        return replace(self, headers={name: value for name, value in merged.items() if value is not None})


Lie: TypeAlias = Callable[[int, Answer, Message], "Answer | None"]
"""Changes an answer, given how many came before and what was asked; `None` closes the connection."""


@dataclass
class Log:
    """What was asked and sent."""

    ranges: list[str] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)
    sent: int = 0

    @property
    def requests(self) -> int:
        return len(self.ranges)

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]


class RangeServer(ThreadingHTTPServer):
    """Serves `files` by path; `lie` may change what it says."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.lie: Lie | None = None
        self.log = Log()
        self.ended = threading.Event()
        self.lock = threading.Lock()

    def address(self, path: str = "model", *, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_port}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: RangeServer

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            before = server.log.requests
            server.log.ranges.append(self.headers.get("Range", ""))
            server.log.headers.append(self.headers)
        answer: Answer | None = self._honest()
        if server.lie is not None and answer is not None:
            answer = server.lie(before, answer, self.headers)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = answer.body[: answer.broken_after]
        with server.lock:
            server.log.sent += len(body)
        try:
            if answer.stalled_after is not None:
                self.wfile.write(body[: answer.stalled_after])
                (answer.meanwhile or server.ended.wait)()
                body = body[answer.stalled_after :]
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # who asked has read enough

    def do_HEAD(self) -> None:
        with self.server.lock:
            before = self.server.log.requests
        answer: Answer | None = self._honest()
        if self.server.lie is not None and answer is not None:
            answer = self.server.lie(before, answer, self.headers)
        if answer is not None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()

    def _honest(self) -> Answer:
        content = self.server.files.get(self.path.partition("?")[0].lstrip("/"))
        if content is None:
            return Answer(404, {"Content-Length": "0"})
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": '"first"'}
        if asked is None:
            return Answer(200, {**headers, "Content-Length": str(len(content))}, content)
        begin, end = int(asked[1]), min(int(asked[2] or len(content)) + 1, len(content))
        if begin >= end:
            return Answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
        return Answer(
            206,
            {
                **headers,
                "Content-Range": f"bytes {begin}-{end - 1}/{len(content)}",
                "Content-Length": str(end - begin),
            },
            content[begin:end],
        )

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    for variable in ("TORCHGRAFT_MIRROR", "TORCHGRAFT_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    with RangeServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.ended.set()
        running.shutdown()
        thread.join()
