"""A mask: for each pixel of a photo, the number of its class."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torchgraft.errors import DataError
from torchgraft.finetuning.images.reading import DatasetEntry, encoded
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    import numpy as np

__all__ = ["IGNORED", "mask_classes", "read_mask"]

IGNORED = 255
"""The number of pixels that are of no class, as in Pascal VOC and Cityscapes."""


def read_mask(item: object, *, where: str) -> np.ndarray[Any, Any]:
    """A path, PIL image, array or tensor as int64 (height, width); a palette's numbers, not its colours.

    A mask of one bit, or of bools, has the classes 0 and 1.

    Raises:
        DataError: It can't be read, or isn't one whole number a pixel.
    """
    import numpy as np

    try:
        pixels = _pixels(item)
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"its mask can't be read ({cause})", where=where) from error
    if pixels.ndim == 3 and 1 in (pixels.shape[0], pixels.shape[2]):
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels[0]
    if pixels.ndim != 2 or pixels.dtype.kind not in "biu":
        raise DataError(
            f"a mask can't have shape {pixels.shape} and dtype {pixels.dtype}",
            where=where,
            hint="a mask has one whole number a pixel: a grey or palette PNG, or an array (height, width)",
        )
    return pixels.astype(np.int64)


def mask_classes(
    masks: Sequence[object], names: Sequence[str], known: Sequence[str] | None
) -> tuple[str, ...]:
    """`known`, or as many numbers as classes occur in the masks, all of which are read for that."""
    if known is not None:
        return tuple(str(name) for name in known)
    import numpy as np

    highest = 0
    for mask, name in zip(masks, names, strict=True):
        pixels = read_mask(mask, where=name)
        highest = max(highest, int(np.where(pixels == IGNORED, 0, pixels).max(initial=0)))
    return tuple(str(index) for index in range(highest + 1))


def _pixels(item: object) -> np.ndarray[Any, Any]:
    import numpy as np

    if isinstance(item, DatasetEntry):
        item = item.image()
    file = encoded(item)
    if file is not None:
        data = file if isinstance(file, bytes) else file.read_bytes()
        if data[:6] == b"\x93NUMPY":
            return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
        require("PIL")
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image)
    if hasattr(item, "detach"):
        item = item.detach().cpu()
    return np.asarray(item)
