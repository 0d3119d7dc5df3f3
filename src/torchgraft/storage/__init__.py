"""Bytes: mapped from a file, written atomically, downloaded and verified. Knows nothing of what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgraft.storage.download import fetch

__all__ = ["fetch"]


def __getattr__(name: str) -> object:
    """`fetch`, imported when it is asked for: whoever reads a local file needs no web."""
    if name != "fetch":
        raise AttributeError(f"module 'torchgraft.storage' has no attribute {name!r}")
    from torchgraft.storage.download import fetch

    return fetch
