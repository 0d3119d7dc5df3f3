"""What a download tells those who watch it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["DownloadEvent", "OnDownload", "Progress", "downloads_told"]

_EVERY = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class DownloadEvent:
    """One sign of progress.

    Attributes:
        stage: `"downloading"`; `"waiting"` while another process downloads the same file; `"retrying"`
            after a break.
        name: The file's name.
        received: Bytes that are there, those of earlier attempts too.
        total: Bytes in all, if the server says.
        rate: Bytes a second since this call began to receive them, as soon as there is one.
        seconds_left: At that rate.
        why: What broke, where `stage` is `"retrying"`.
    """

    stage: Literal["waiting", "downloading", "retrying"]
    name: str
    received: int = 0
    total: int | None = None
    rate: float | None = None
    seconds_left: float | None = None
    why: str = ""


OnDownload: TypeAlias = Callable[[DownloadEvent], object]

_listener: ContextVar[OnDownload | None] = ContextVar("listener", default=None)


@contextmanager
def downloads_told(tell: OnDownload) -> Iterator[None]:
    """Inside, `tell` hears of every download that nobody else was named for, such as a model's weights."""
    token = _listener.set(tell)
    try:
        yield
    finally:
        _listener.reset(token)


class Progress:
    """Makes events of what is received, a few a second.

    Args:
        name: The file's name.
        tell: Gets them; `None`: who is named by `downloads_told`, if anyone.
    """

    def __init__(self, name: str, tell: OnDownload | None) -> None:
        self._name = name
        self._tell = tell or _listener.get() or (lambda _: None)
        self._began: tuple[float, int] | None = None
        self._told = 0.0

    def waiting(self) -> None:
        """Another process is at it."""
        self._tell(DownloadEvent("waiting", self._name))

    def retrying(self, received: int, total: int | None, why: str) -> None:
        """An attempt broke, and there will be another."""
        self._tell(DownloadEvent("retrying", self._name, received, total, why=why))

    def received(self, received: int, total: int | None) -> None:
        """So many bytes are there now."""
        now = time.monotonic()
        if self._began is None or received < self._began[1]:
            self._began = (now, received)
        if received != total and now - self._told < _EVERY:
            return
        self._told = now
        seconds, before = now - self._began[0], self._began[1]
        rate = (received - before) / seconds if seconds > 0 and received > before else None
        left = (total - received) / rate if rate and total is not None else None
        self._tell(DownloadEvent("downloading", self._name, received, total, rate, left))
