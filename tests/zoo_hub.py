"""A hub of one's own on 127.0.0.1, and the folder layout of the cache it is downloaded to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached_repository(cache: Path, repository: str, folder: Path) -> Path:
    """Lay a folder's files into a cache as huggingface_hub does: blobs by hash, links to them by name."""
    root = cache / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    (root / "blobs").mkdir()
    for file in folder.iterdir():
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        (root / "blobs" / digest).write_bytes(data)
        (snapshot / file.name).symlink_to(f"../../blobs/{digest}")
    return snapshot


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: dict[str, Path]
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = unquote(self.path.partition("?")[0]).strip("/")
        repository, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        self.asked.append(f"{self.command} {path}")
        found = self.repositories.get(repository)
        missing = (
            "RepoNotFound"
            if found is None
            else "RevisionNotFound"
            if revision not in ("main", "v2", COMMIT)
            else ""
        )
        data = (found / file).read_bytes() if found and not missing and (found / file).is_file() else None
        self.send_response(404 if data is None else 200)
        if data is None:
            self.send_header("X-Error-Code", missing or "EntryNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if body and data:
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)


@contextmanager
def serving(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub with these repositories, and what it has been asked; it ends with the block."""
    asked: list[str] = []
    handler = type("Hub", (_Hub,), {"repositories": repositories, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()
