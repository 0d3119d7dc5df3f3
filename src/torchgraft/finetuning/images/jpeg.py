"""JPEGs as tensors, decoded by simplejpeg; and whether a JPEG can be decoded, for a third of the cost."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = ["decoded_size", "jpeg_pixels", "orientation"]

_ORIENTATION = 274
"""EXIF's tag for how rows and columns are to be shown."""


def jpeg_pixels(data: bytes, image: Image.Image) -> torch.Tensor | None:
    """The pixels of a grey or RGB JPEG, upright, as uint8 (1 or 3, height, width); the same as PIL's.

    Args:
        data: The file.
        image: The same, opened by PIL, which has read its header only.

    Returns:
        `None` where it isn't such a JPEG, simplejpeg is absent, can't decode it, or
        would give other pixels than PIL.
    """
    if image.format != "JPEG" or image.mode not in ("L", "RGB") or not _as_pil_does():
        return None
    try:
        pixels = _decoded(data, image.mode)
    except ValueError:
        return None  # PIL says what is wrong with it
    return _upright(pixels, orientation(image))


def decoded_size(image: Image.Image) -> tuple[int, int] | None:
    """Decode an opened grey or RGB JPEG at an eighth of its size; its upright height and width.

    Whatever makes PIL refuse the whole picture makes it refuse this: all its data is read, only the
    inverse cosine transforms and colours, which can't fail, are mostly left out.

    Returns:
        `None` where it isn't such a JPEG.

    Raises:
        OSError: It is damaged.
    """
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    width, height = image.size
    turned = orientation(image) >= 5
    image.draft("L", (1, 1))
    image.load()
    return (width, height) if turned else (height, width)


def orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF has it; 1 where nothing is said."""
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _decoded(data: bytes, mode: str) -> torch.Tensor:
    import simplejpeg
    import torch

    pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY" if mode == "L" else "RGB")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _upright(pixels: torch.Tensor, turned: int) -> torch.Tensor:
    if turned >= 5:
        pixels = pixels.transpose(1, 2)
    rows, columns = {2: (0, 1), 3: (1, 1), 4: (1, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}.get(turned, (0, 0))
    flipped = [axis for axis, flip in ((1, rows), (2, columns)) if flip]
    return pixels.flip(flipped) if flipped else pixels


@lru_cache(maxsize=1)
def _as_pil_does() -> bool:
    """Whether simplejpeg is there and its JPEG library gives the pixels that PIL's gives.

    Both are libjpeg-turbo in the packages that pip brings; another libjpeg, or another version of it, may
    round otherwise. Asked of one photo with and one without reduced colours.
    """
    try:
        import numpy as np
        from PIL import Image

        noise: Any = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
        for subsampling in (0, 2):
            file = io.BytesIO()
            Image.fromarray(noise).save(file, "JPEG", quality=80, subsampling=subsampling)
            with Image.open(file) as image:
                theirs = np.asarray(image)
            if not np.array_equal(_decoded(file.getvalue(), "RGB").permute(1, 2, 0).numpy(), theirs):
                return False
    except (ImportError, ValueError, OSError):
        return False
    return True
