"""Images that come one after the other and only once: read once, and held in memory if they fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torchgraft.errors import DataError
from torchgraft.finetuning.machine import available_memory

__all__ = ["held_in_memory"]

_SHARE = 0.25
"""Of the memory that is available when reading begins."""


def held_in_memory(
    entries: Iterable[Any], *, what: str, limit: int | None = None
) -> tuple[list[Any], list[Any]]:
    """Images and labels of a stream of (image, label); encoded images stay encoded.

    Args:
        entries: The stream.
        what: What to call it in a message.
        limit: The most bytes to hold; a quarter of the available memory if not given.

    Raises:
        DataError: An entry is no pair, or it doesn't fit.
    """
    most = limit if limit is not None else int(available_memory() * _SHARE)
    images: list[Any] = []
    labels: list[Any] = []
    held = 0
    for entry in entries:
        if not isinstance(entry, (tuple, list)) or len(entry) != 2:
            raise DataError(f"the {what} must give (image, label)", where=f"entry {len(images)}")
        image, label = entry
        if hasattr(image, "getbands"):
            image.load()  # a file may be closed when the stream goes on
        held += _bytes(image) + _bytes(label)
        if held > most:
            raise DataError(
                f"the {what} doesn't fit: {len(images)} images took {most / 2**20:,.0f} MiB, "
                "a quarter of the memory that was free",
                hint="a stream is read once and held in memory: write it into a folder with one subfolder "
                "per class, or give a dataset with a length, which is read image by image",
            )
        images.append(image)
        labels.append(label)
    return images, labels


def _bytes(item: Any) -> int:
    if isinstance(item, dict):
        return sum(_bytes(value) for value in item.values())
    if isinstance(item, (bytes, bytearray, str)):
        return len(item)
    if hasattr(item, "getbands"):
        return int(item.width * item.height * (3 if item.mode == "P" else len(item.getbands())))
    return int(getattr(item, "nbytes", 0))
