"""What a user asks about → images, one after the other."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torchgraft.errors import DataError
from torchgraft.finetuning.images.folders import image_paths
from torchgraft.finetuning.images.reading import Picture, read_picture
from torchgraft.storage.addresses import is_address, without_secrets

__all__ = ["Asked", "AskedImage", "asked_images"]

Asked: TypeAlias = Any
"""A path, folder, pattern, address, PIL image, array (height, width[, channels]), tensor ([channels,] height,
width), or several of them, such as a generator."""

_MOST_BYTES = 256 << 20
"""The largest picture that is fetched from an address."""


@dataclass(frozen=True, slots=True, eq=False)
class AskedImage:
    """One image, not read yet.

    Attributes:
        name: Its path, its address without secrets, or `image 3`.
        item: The image, a path, or an address.
    """

    name: str
    item: object

    def picture(self, channels: int) -> Picture:
        """Read it.

        Raises:
            DataError: It can't be read.
            FetchError: It can't be fetched.
        """
        item = self.item
        if is_address(item):
            from torchgraft.storage.small_file import read_small

            item = read_small(str(item), most=_MOST_BYTES)
        return read_picture(item, channels, where=self.name)


def asked_images(asked: Asked) -> Iterator[AskedImage]:
    """Each image in the order given, a folder's and a pattern's sorted by path; a generator is not run ahead.

    Raises:
        DataError: There is no image, or a pattern that no file fits.
    """
    index = -1
    for index, item in enumerate(_each(asked)):
        if is_address(item):
            yield AskedImage(without_secrets(str(item)), item)
        else:
            yield AskedImage(str(item) if isinstance(item, Path) else f"image {index}", item)
    if index < 0:
        raise DataError("no images", where=str(asked) if isinstance(asked, (str, os.PathLike)) else None)


def _each(asked: Asked) -> Iterable[object]:
    for item in asked if _several(asked) else [asked]:
        if is_address(item) or not isinstance(item, (str, os.PathLike)):
            yield item
        elif Path(item).is_dir():
            yield from image_paths(Path(item))
        elif isinstance(item, str) and glob.has_magic(item) and not Path(item).exists():
            found = sorted(glob.glob(item, recursive=True))  # noqa: PTH207 (a pattern may be absolute)
            if not found:
                raise DataError("no file fits this pattern", where=item)
            yield from map(Path, found)
        else:
            yield Path(item)


def _several(asked: Asked) -> bool:
    """Lists, and arrays with one dimension more than an image's three; a tuple or generator of images too."""
    if isinstance(asked, (str, bytes, os.PathLike)):
        return False
    dimensions = getattr(asked, "ndim", None)
    if dimensions is not None:
        return bool(dimensions == 4)
    return hasattr(asked, "__iter__")
