"""Rates and times left, by a clock of our own."""

from __future__ import annotations

import pytest

from torchgraft.storage import download_event
from torchgraft.storage.download_event import DownloadEvent, Progress


def test_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(download_event.time, "monotonic", lambda: now)
    events: list[DownloadEvent] = []
    progress = Progress("x.pth", events.append)
    progress.received(400, 1000)  # 400 were there from before: they say nothing of the rate
    now = 101.0
    progress.received(500, 1000)
    now = 101.01
    progress.received(501, 1000)  # too soon to tell
    now = 103.0
    progress.received(1000, 1000)
    progress.retrying(10, None, "it broke")
    progress.waiting()
    assert events == [
        DownloadEvent("downloading", "x.pth", 400, 1000),
        DownloadEvent("downloading", "x.pth", 500, 1000, 100.0, 5.0),
        DownloadEvent("downloading", "x.pth", 1000, 1000, 200.0, 0.0),
        DownloadEvent("retrying", "x.pth", 10, None, why="it broke"),
        DownloadEvent("waiting", "x.pth"),
    ]


def test_without_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(download_event.time, "monotonic", lambda: now)
    events: list[DownloadEvent] = []
    progress = Progress("x.pth", events.append)
    progress.received(10, None)
    now = 1.0
    progress.received(30, None)
    assert events[-1] == DownloadEvent("downloading", "x.pth", 30, None, 20.0, None)


def test_nobody_listens() -> None:
    progress = Progress("x.pth", None)
    progress.received(1, 2)
    progress.waiting()
