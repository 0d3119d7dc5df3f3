"""One item of a data set → a picture: decoded, upright, in the number of channels that the model takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from torchgraft.errors import DataError, MissingDependencyError
from torchgraft.finetuning.images.arrays import picture_of_array
from torchgraft.finetuning.images.files import (
    checked_file,
    height_width,
    picture_of_file,
    picture_of_photo,
)
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = ["DatasetEntry", "Picture", "check_picture", "encoded", "read_picture"]

Picture: TypeAlias = "Image.Image | torch.Tensor"
"""A PIL image of mode `L` or `RGB`, a uint8 tensor (channels, height, width), or a float32 one in 0…1."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """Entry `index` of a dataset, fetched when it is needed.

    Attributes:
        dataset: Whose entry.
        index: Which one.
        part: Where in it the picture is.
        fixed: Whether it is the same each time it is fetched; a dataset may vary its pictures.
    """

    dataset: Any
    index: int
    part: int | str = 0
    fixed: bool = False

    def image(self) -> object:
        """The part of the entry."""
        return self.dataset[self.index][self.part]


def read_picture(item: object, channels: int, *, where: str, tensors: bool = False) -> Picture:
    """Decode `item` (path, file's bytes, PIL image, numpy HWC or HW, torch CHW or HW, dataset entry).

    Files are turned upright by their EXIF orientation. One channel is the luminance (ITU-R 601-2);
    three are RGB, an alpha channel dropped as torchvision's and timm's loaders do. Any other number
    is taken only from images that have it.

    Args:
        item: The image.
        channels: As many as the model takes.
        where: What to call it in a message.
        tensors: Whether uint8 tensors are welcome where they cost less than PIL images.

    Raises:
        DataError: It can't be read, or has another number of channels; names `where`.
    """
    item = _fetched(item, where)
    file = encoded(item)
    if file is not None:
        return _guarded(lambda: picture_of_file(file, channels, where=where, tensors=tensors), where)
    require("PIL")
    from PIL import Image

    if isinstance(item, Image.Image):
        image = item
        return _guarded(lambda: picture_of_photo(image, channels, where=where), where)
    return picture_of_array(item, channels, where=where, tensors=tensors)


def check_picture(item: object, channels: int, *, where: str) -> tuple[int, int]:
    """Height and width of what `read_picture` gives; raises as it does. Costs less for files of JPEG."""
    item = _fetched(item, where)
    file = encoded(item)
    if file is not None:
        return _guarded(lambda: checked_file(file, channels, where=where), where)
    picture = read_picture(item, channels, where=where)
    return height_width(picture)


def encoded(item: object) -> Path | bytes | None:
    """The path or bytes of an image file, if that is what the item is; `datasets` has both in a dict."""
    if isinstance(item, Mapping) and ("bytes" in item or "path" in item):
        item = item.get("bytes") or item.get("path")
    if isinstance(item, (bytes, bytearray)):
        return bytes(item)
    return Path(item) if isinstance(item, (str, os.PathLike)) else None


def _fetched(item: object, where: str) -> object:
    return _guarded(item.image, where) if isinstance(item, DatasetEntry) else item


def _guarded(read: Callable[[], _T], where: str) -> _T:
    """Whatever a decoder or a user's dataset raises on bad data becomes one `DataError`."""
    try:
        return read()
    except (DataError, MissingDependencyError):
        raise
    except Exception as error:
        said = (isinstance(error, OSError) and error.strerror) or str(
            error
        )  # without the path, which is `where`
        cause = " ".join(said.split()) or type(error).__name__
        raise DataError(f"can't be read ({cause})", where=where) from error
