"""Every photo is opened once before training, so that a broken one is known by name and not in hour three."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images

__all__ = ["Unreadable", "keep_readable"]

Unreadable = Literal["error", "skip"]

_log = logging.getLogger(__name__)


def keep_readable(
    images: Images,
    *,
    channels: int,
    unreadable: Unreadable = "error",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Images, tuple[str, ...]]:
    """The photos that can be read, and the names of those that can't.

    Raises:
        DataError: Some can't and `unreadable` is not `"skip"`, or none can.
    """
    if unreadable not in ("error", "skip"):
        raise DataError(f"unreadable={unreadable!r} is neither 'error' nor 'skip'")
    failures: dict[int, DataError] = {}
    for index in range(len(images)):
        try:
            images.image(index, channels)
        except DataError as error:
            failures[index] = error
        if progress is not None:
            progress(index + 1, len(images))
    if not failures:
        return images, ()
    first = next(iter(failures.values()))
    names = tuple(images.names[index] for index in failures)
    if unreadable == "error" or len(failures) == len(images):
        raise _all_failures(first, names, len(images), unreadable) from first
    _log.warning("%d of %d images can't be read and are skipped: %s", len(names), len(images), _few(names))
    return images.subset(i for i in range(len(images)) if i not in failures), names


def _all_failures(first: DataError, names: tuple[str, ...], total: int, unreadable: Unreadable) -> DataError:
    if len(names) == 1:
        what = f"1 of {total} images is unusable: {first.what}"
    else:
        what = f"{len(names)} of {total} images are unusable ({_few(names)}); the first: {first.what}"
    skip = "remove it, or pass unreadable='skip' to leave such images out"
    return DataError(what, where=names[0], hint=first.hint or (skip if unreadable == "error" else None))


def _few(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
