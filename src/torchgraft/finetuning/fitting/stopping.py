"""Ctrl-C and SIGTERM while a step runs: it is finished first, so that what is saved fits together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Stop", "stopping"]


class Stop:
    """Whether somebody wants the run to end."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def stopping() -> Iterator[Stop]:
    """Inside, the first SIGINT or SIGTERM only sets `requested`; a second one raises `KeyboardInterrupt`.

    Signals that the program handles in its own way stay so. Other threads than the main one can't have
    handlers; there nothing changes.
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (what Python calls it with)
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    replaced: list[tuple[signal.Signals, Any]] = []
    try:
        if threading.current_thread() is threading.main_thread():
            for number, usual in (
                (signal.SIGINT, signal.default_int_handler),
                (signal.SIGTERM, signal.SIG_DFL),
            ):
                if signal.getsignal(number) is usual or signal.getsignal(number) == usual:
                    replaced.append((number, signal.signal(number, ask)))
        yield stop
    finally:
        for number, before in replaced:
            signal.signal(number, before)
