"""One item of a data set → a picture: decoded, upright, in the number of channels that the model takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from torchgraft.errors import DataError
from torchgraft.finetuning.images.arrays import picture_of_array
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = ["DatasetEntry", "Picture", "read_picture"]

Picture: TypeAlias = "Image.Image | torch.Tensor"
"""A PIL image of mode `L` or `RGB`, or a float32 tensor (channels, height, width) in 0…1."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """Entry `index` of a PyTorch dataset of (image, label), fetched when it is needed."""

    dataset: Any
    index: int

    def image(self) -> object:
        """The entry's first part."""
        return self.dataset[self.index][0]


def read_picture(item: object, channels: int, *, where: str) -> Picture:
    """Decode `item` (path, PIL image, numpy HWC or HW, torch CHW or HW, dataset entry).

    Files are turned upright by their EXIF orientation. One channel is the luminance (ITU-R 601-2);
    three are RGB, an alpha channel dropped as torchvision's and timm's loaders do. Any other number
    is taken only from arrays and tensors that have it.

    Raises:
        DataError: It can't be read, or has another number of channels; names `where`.
    """
    if isinstance(item, DatasetEntry):
        item = _guarded(item.image, where)
    if isinstance(item, (str, os.PathLike)):
        path = Path(item)
        return _guarded(lambda: _from_file(path, channels, where), where)
    require("PIL")
    from PIL import Image

    if isinstance(item, Image.Image):
        image = item
        return _guarded(lambda: _in_channels(image, channels, where), where)
    return picture_of_array(item, channels, where=where)


def _from_file(path: Path, channels: int, where: str) -> Picture:
    require("PIL")
    from PIL import Image

    with Image.open(path) as image:
        return _in_channels(image, channels, where)


def _in_channels(image: Image.Image, channels: int, where: str) -> Picture:
    from PIL import ImageOps

    if channels not in (1, 3):
        raise DataError(
            f"a photo can't be read as {channels} channels",
            where=where,
            hint=f"give arrays of shape (height, width, {channels}) or tensors ({channels}, height, width)",
        )
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        return picture_of_array(_deep_array(upright), channels, where=where)
    if upright.mode in ("P", "PA", "LA", "La"):
        upright = upright.convert("RGBA")  # a palette's transparency needs this step
    wanted = "L" if channels == 1 else "RGB"
    return upright if upright.mode == wanted else upright.convert(wanted)


def _deep_array(image: Image.Image) -> Any:
    """More than 8 bits a pixel: 16-bit photos come as `I;16` or, from some files, as 32-bit `I`."""
    import numpy as np

    array = np.asarray(image)
    if array.dtype.kind == "i" and array.size and array.min() >= 0 and array.max() <= 0xFFFF:
        return array.astype(np.uint16)
    return array


def _guarded(read: Callable[[], _T], where: str) -> _T:
    """Whatever a decoder or a user's dataset raises on bad data becomes one `DataError`."""
    try:
        return read()
    except DataError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"can't be read ({cause})", where=where) from error
