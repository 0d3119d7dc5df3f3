"""A small web server for one page, on 127.0.0.1: only GET, only with the token, only a few at a time."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from torchgraft.errors import DataError, TorchgraftError
from torchgraft.viewing.guard import new_token, path_behind_token, refusal
from torchgraft.viewing.shown import Shown

__all__ = ["Viewer"]

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_MOST_AT_ONCE = 16
_PATIENCE = 30.0  # seconds that one request may take, so that slow clients give their place up

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_OF_PAGE = "frame-ancestors 'none'"  # the rest stands in the page itself, with the hashes of its parts


class Viewer(ThreadingHTTPServer):
    """Serves what there is to see. `serve_forever` runs until `shutdown`; a context that closes the port.

    Args:
        what: The page and its news.
        port: 0 takes any that is free.

    Attributes:
        url: With the token.

    Raises:
        DataError: The port is taken.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, what: Shown, *, port: int = 0, patience: float = _PATIENCE) -> None:
        self.what = what
        self.token = new_token()
        self._patience = patience
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            raise DataError(
                f"port {port} can't be used: {error.strerror}",
                hint="leave --port out to take any that is free",
            ) from error
        self.url = f"http://{_HOST}:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, if there is a place; else the connection is closed at once."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._let_go(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and give the place up however that ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._let_go(request)

    def service_actions(self) -> None:
        """Twice a second: hang up on whoever takes too long."""
        late = time.monotonic() - self._patience
        with self._lock:
            for request, since in self._open.items():
                if since < late:
                    try:
                        request.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the base class's signature)
        """A client that hung up is nothing to tell of."""
        _log.debug("a request failed", exc_info=True)

    def server_bind(self) -> None:
        """Without the look-up of the machine's name that `http.server` makes, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = _HOST, int(self.server_address[1])

    def _let_go(self, request: socket.socket) -> None:
        with self._lock:
            if self._open.pop(request, None) is None:
                return
        self._places.release()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request a connection."""

    server: Viewer
    timeout = _PATIENCE
    server_version = "torchgraft"
    sys_version = ""

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every method is looked at alike, also those that nobody has heard of."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        hosts = self.headers.get_all("Host", [])
        refused = refusal(
            self.command,
            self.path,
            host=hosts[0] if len(hosts) == 1 else None,
            origin=self.headers.get("Origin"),
            token=self.server.token,
        )
        if refused is not None:
            self._say(refused.status, refused.message)
            return
        rest = path_behind_token(self.path, self.server.token)
        try:
            if rest == "/":
                self._send(self.server.what.html(live=True), "text/html")
            elif rest == "/news":
                self._send(self._news(), "application/json")
            elif rest == "":
                self._say(HTTPStatus.MOVED_PERMANENTLY, "", Location=f"/{self.server.token}/")
            else:
                self._say(HTTPStatus.NOT_FOUND, "there is no such page")
        except TorchgraftError as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _news(self) -> str:
        """The page, if it is another one than the asker has."""
        what = self.server.what
        since = parse_qs(urlsplit(self.path).query).get("since", [""])[0]
        changed = what.revision() != since
        return json.dumps({"page": what.html(live=True) if changed else None})

    def _send(self, text: str, kind: str, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> None:
        body = text.encode("utf-8", "backslashreplace")
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", _OF_PAGE if kind == "text/html" else _CLOSED)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _say(self, status: HTTPStatus, message: str, **headers: str) -> None:
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"
        self._send(f"{message}\n", "text/plain", status, **headers)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What isn't HTTP at all: a line of text, that holds nothing of the request."""
        status = HTTPStatus(code)
        self.command = getattr(self, "command", None) or "GET"
        self.close_connection = True
        self._say(status, status.phrase.lower())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Requests are not the user's business; the token is nobody else's."""
