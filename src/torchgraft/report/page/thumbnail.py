"""Small copies of images that live inside the page."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from markupsafe import Markup

from torchgraft.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["Picture", "thumbnail_uri"]

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]"
"""A path, a pillow image, or a `uint8` array of height × width (× 1, 3 or 4)."""

_QUALITY = 85


def thumbnail_uri(picture: Picture, *, size: int = 320) -> Markup:
    """The picture as a `data:` URI of a JPEG no wider and no higher than `size` pixels.

    Raises:
        DataError: It can't be read as an image.
        MissingDependencyError: Pillow is absent.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingDependencyError(
            "showing photos in the report needs pillow", hint="pip install pillow"
        ) from error
    where = str(picture) if isinstance(picture, (str, os.PathLike)) else "image in memory"
    try:
        if isinstance(picture, (str, os.PathLike)):
            image: Image.Image = Image.open(Path(picture))
        elif isinstance(picture, Image.Image):
            image = picture
        else:
            image = Image.fromarray(picture.squeeze())
        image = ImageOps.exif_transpose(image)
        if image.mode not in ("L", "RGB"):
            image = image.convert("RGB")
        image = image.copy()
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"can't be shown as an image: {error}", where=where) from error
    return Markup("data:image/jpeg;base64,") + base64.b64encode(stream.getvalue()).decode("ascii")
