"""Every photo is looked at once before training, so that a broken one is known by name, not in hour three."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.reading import check_picture, encoded
from torchgraft.finetuning.machine import cores

__all__ = ["Once", "Unreadable", "keep_readable"]

Unreadable = Literal["error", "skip"]

Once: TypeAlias = Callable[[Callable[[], Any]], Any]
"""Gives what the function that it is given finds."""

_log = logging.getLogger(__name__)


def keep_readable(
    images: Images,
    *,
    channels: int,
    unreadable: Unreadable = "error",
    progress: Callable[[int, int], None] | None = None,
    once: Once = lambda find: find(),
) -> tuple[Images, tuple[str, ...]]:
    """The photos that can be read, and the names of those that can't; with masks, those that fit, too.

    JPEGs are decoded at an eighth of their size, which fails where decoding fails; all else is decoded in
    full. Files are read by several threads. With several processes, `once` has the first one look.

    Raises:
        DataError: Some can't and `unreadable` is not `"skip"`, or none can.
    """
    if unreadable not in ("error", "skip"):
        raise DataError(f"unreadable={unreadable!r} is neither 'error' nor 'skip'")
    failures = once(lambda: _failures(images, channels, progress))
    if not failures:
        return images, ()
    first = next(iter(failures.values()))
    names = tuple(images.names[index] for index in failures)
    if unreadable == "error" or len(failures) == len(images):
        raise _all_failures(first, names, len(images), unreadable) from first
    _log.warning("%d of %d images can't be read and are skipped: %s", len(names), len(images), _few(names))
    return images.subset(i for i in range(len(images)) if i not in failures), names


def _failures(
    images: Images, channels: int, progress: Callable[[int, int], None] | None
) -> dict[int, DataError]:
    """By position."""
    failures = {}
    for index, error in enumerate(_errors(images, channels)):
        if error is not None:
            failures[index] = error
        if progress is not None:
            progress(index + 1, len(images))
    return failures


def _errors(images: Images, channels: int) -> Iterator[DataError | None]:
    """What is wrong with each photo. Files are looked at side by side; a dataset may not bear that."""
    if cores() < 2 or not all(encoded(item) is not None for item in images.items):
        for index in range(len(images)):
            yield _error(images, index, channels)
        return
    with ThreadPoolExecutor(min(cores(), 8)) as threads:
        try:
            yield from threads.map(lambda index: _error(images, index, channels), range(len(images)))
        finally:
            threads.shutdown(cancel_futures=True)


def _error(images: Images, index: int, channels: int) -> DataError | None:
    try:
        size = check_picture(images.items[index], channels, where=images.names[index])
        if images.task == "segmentation":
            shape = images.mask(index).shape
            if shape != size:
                return DataError(
                    f"its mask has {shape[0]} rows of {shape[1]} pixels, the image {size[0]} of {size[1]}",
                    where=images.names[index],
                )
    except DataError as error:
        return error
    return None


def _all_failures(first: DataError, names: tuple[str, ...], total: int, unreadable: Unreadable) -> DataError:
    if len(names) == 1:
        what = f"1 of {total} images is unusable: {first.what}"
    else:
        what = f"{len(names)} of {total} images are unusable ({_few(names)}); the first: {first.what}"
    skip = "remove it, or pass unreadable='skip' to leave such images out"
    return DataError(what, where=names[0], hint=first.hint or (skip if unreadable == "error" else None))


def _few(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
