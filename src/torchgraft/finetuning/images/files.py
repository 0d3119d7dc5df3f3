"""An image file, or its bytes → a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torchgraft.errors import DataError, MissingDependencyError
from torchgraft.finetuning.images.arrays import picture_of_array
from torchgraft.finetuning.images.jpeg import decoded_size, jpeg_pixels
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from torchgraft.finetuning.images.reading import Picture

__all__ = ["Encoded", "checked_file", "height_width", "picture_of_file", "picture_of_photo"]

Encoded: TypeAlias = "Path | bytes"

_LARGE = 1_000_000
"""Pixels from which simplejpeg, whose pixels PIL has to copy, is no slower than PIL, and may be faster."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def picture_of_file(file: Encoded, channels: int, *, where: str, tensors: bool = False) -> Picture:
    """Decode what PIL can, `.npy`, and TIFF of any number of bands (with tifffile).

    Args:
        file: A path, or what is in the file.
        channels: As many as the model takes.
        where: What to call it in a message.
        tensors: Whether uint8 tensors, which are resized faster, are welcome instead of PIL images.
    """
    data = file if isinstance(file, bytes) else file.read_bytes()
    if data[:6] == b"\x93NUMPY":
        return picture_of_array(_numpy(data), channels, where=where, tensors=tensors)
    require("PIL")
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if data[:4] not in _TIFF:
            raise UnidentifiedImageError("no known image format" if data else "the file is empty") from None
        return picture_of_array(_bands(data), channels, where=where, tensors=tensors)
    with image:
        if data[:4] in _TIFF and _lacks_bands(image, channels):
            return picture_of_array(_bands(data), channels, where=where, tensors=tensors)
        quick = channels in (1, 3) and (tensors or image.width * image.height >= _LARGE)
        pixels = jpeg_pixels(data, image) if quick else None
        if pixels is None:
            return picture_of_photo(image, channels, where=where)
        if tensors and len(pixels) == channels:
            return pixels
        return picture_of_photo(_photo(pixels), channels, where=where)


def picture_of_photo(image: Image.Image, channels: int, *, where: str) -> Picture:
    """A PIL image, upright and in that many channels."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        return picture_of_array(_deep(upright), channels, where=where)
    if upright.mode in ("RGBA", "LA", "RGBX") and len(upright.getbands()) == channels:
        import numpy as np

        return picture_of_array(np.asarray(upright), channels, where=where)
    if channels not in (1, 3):
        raise DataError(
            f"a photo can't be read as {channels} channels",
            where=where,
            hint=f"give arrays of shape (height, width, {channels}), .npy or TIFF files with so many bands",
        )
    if upright.mode in ("P", "PA", "LA", "La"):
        upright = upright.convert("RGBA")  # a palette's transparency needs this step
    wanted = "L" if channels == 1 else "RGB"
    return upright if upright.mode == wanted else upright.convert(wanted)


def checked_file(file: Encoded, channels: int, *, where: str) -> tuple[int, int]:
    """Height and width of the picture; raises whatever `picture_of_file` would, at less cost for JPEGs."""
    if channels in (1, 3):
        require("PIL")
        from PIL import Image

        try:
            with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
                size = decoded_size(image)
        except MissingDependencyError:
            raise
        except Exception:
            size = None  # below, whatever is wrong is said again
        if size is not None:
            return size
    picture = picture_of_file(file, channels, where=where)
    return height_width(picture)


def height_width(picture: Picture) -> tuple[int, int]:
    """Of a PIL image or a tensor (channels, height, width)."""
    import torch

    if isinstance(picture, torch.Tensor):
        return int(picture.shape[1]), int(picture.shape[2])
    return picture.height, picture.width


def _photo(pixels: Any) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(
        np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy())
    )


def _deep(image: Image.Image) -> np.ndarray[Any, Any]:
    """More than 8 bits a pixel: 16-bit photos come as `I;16` or, from some files, as 32-bit `I`."""
    import numpy as np

    array = np.asarray(image)
    if array.dtype.kind == "i" and array.size and array.min() >= 0 and array.max() <= 0xFFFF:
        return array.astype(np.uint16)
    return array


def _numpy(data: bytes) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))


def _lacks_bands(image: Image.Image, channels: int) -> bool:
    """Whether PIL has not seen all of the bands or bits, or gives them a meaning that they don't have."""
    bands = len(image.getbands())
    samples = int(image.tag_v2.get(277, bands)) if hasattr(image, "tag_v2") else bands
    return channels not in (1, 3) and not (samples == bands == channels and image.mode in ("RGBA", "LA"))


def _bands(data: bytes) -> np.ndarray[Any, Any]:
    """A TIFF's first picture as (height, width[, bands])."""
    require("tifffile")  # PIL reads no more than four bands, and no more than 8 bits of several
    import numpy as np
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        series = file.series[0]
        array, axes = np.asarray(series.asarray()), str(series.axes)
    if array.ndim == 3 and axes[-2:] == "YX":
        array = array.transpose(1, 2, 0)
    return array
