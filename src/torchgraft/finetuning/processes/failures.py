"""One message for a failure that several processes have: the first one shows it, the others see to that."""

from __future__ import annotations

import re
import sys
from datetime import timedelta

__all__ = ["connection_broke", "first_has_said", "say_as_first"]

_KEY = "torchgraft/failure"
_PATIENCE = timedelta(seconds=5)
_BROKEN = re.compile(
    r"connection (closed|reset|refused|was aborted)|broken pipe|timed out|timeout|remote process exited"
    r"|ncclRemoteError|socket",
    re.IGNORECASE,
)


def say_as_first(message: str) -> None:
    """In the first process, after it has shown its failure: let the others know."""
    store = _store()
    if store is not None:
        store.set(_KEY, message)  # type: ignore[attr-defined]


def first_has_said(message: str) -> bool:
    """In another process: whether the first one has shown the same, or does so within seconds."""
    store = _store()
    if store is None:
        return True  # it has not begun to work with the others, and they all come to the same
    try:
        store.wait([_KEY], _PATIENCE)  # type: ignore[attr-defined]
        said = store.get(_KEY).decode()  # type: ignore[attr-defined]
    except (RuntimeError, OSError):  # the time is over, or the first process is gone
        return False
    return bool(said == message)


def connection_broke(error: Exception) -> bool:
    """Whether it says that another process could not be reached any more."""
    raised_there = "distributed" in type(error).__module__ or type(error).__name__.startswith("Dist")
    return isinstance(error, RuntimeError) and (raised_there or bool(_BROKEN.search(str(error))))


def _store() -> object | None:
    """Where the processes leave each other words, if they have met."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store()
