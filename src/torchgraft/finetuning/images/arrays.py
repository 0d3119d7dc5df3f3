"""Arrays and tensors → pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchgraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from torchgraft.finetuning.images.reading import Picture

__all__ = ["LUMINANCE", "picture_of_array"]

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of R, G and B in ITU-R 601-2 luma, which PIL uses too."""


def picture_of_array(item: object, channels: int, *, where: str, tensors: bool = False) -> Picture:
    """A numpy array (height, width[, channels]) or torch tensor ([channels,] height, width) as a picture.

    uint8 is 0…255, uint16 0…65535, floats 0…1, bool 0 or 1. With `tensors`, uint8 stays a tensor.

    Raises:
        DataError: Another type, shape, dtype or range.
    """
    import numpy as np
    import torch

    if isinstance(item, torch.Tensor):
        array = item.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(item, np.ndarray):
        array = item
    else:
        raise DataError(
            f"an image can't be a {type(item).__name__}",
            where=where,
            hint="give paths, PIL images, numpy arrays or torch tensors",
        )
    array = _in_channels(array, channels, where)
    if array.dtype == np.uint8 and tensors:
        return torch.from_numpy(np.array(array.transpose(2, 0, 1)))  # a copy: theirs may be read-only
    if array.dtype == np.uint8 and channels in (1, 3):
        from PIL import Image

        return Image.fromarray(np.ascontiguousarray(array[..., 0] if channels == 1 else array))
    return torch.from_numpy(np.ascontiguousarray(_to_unit(array, where).transpose(2, 0, 1)))


def _in_channels(array: np.ndarray[Any, Any], channels: int, where: str) -> np.ndarray[Any, Any]:
    """The array as (height, width, channels)."""
    import numpy as np

    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(
            f"an image can't have shape {array.shape}",
            where=where,
            hint="numpy: (height, width) or (height, width, channels); torch: (channels, height, width)",
        )
    has = array.shape[2]
    if has == channels:
        return array
    if channels == 3 and has == 1:
        return np.repeat(array, 3, axis=2)
    if channels == 3 and has == 4:
        return array[..., :3]
    if channels == 1 and has in (3, 4):
        return _luminance(array)
    raise DataError(
        f"the image has {has} channels (shape {array.shape}), the model takes {channels}",
        where=where,
        hint="numpy: (height, width, channels), torch: (channels, height, width); "
        "torchgraft.adapt(model, in_channels=…) changes what the model takes",
    )


def _luminance(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if array.dtype == np.uint8:
        from PIL import Image

        rgb = Image.fromarray(np.ascontiguousarray(array[..., :3]))
        return np.asarray(rgb.convert("L"))[..., None]
    weighted: np.ndarray[Any, Any] = array[..., :3].astype(np.float64) @ np.array(LUMINANCE)[:, None]
    return weighted.astype(array.dtype)


def _to_unit(array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """float32 in 0…1."""
    import numpy as np

    if array.dtype in (np.uint8, np.uint16):
        return array.astype(np.float32) / np.iinfo(array.dtype).max
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype.kind != "f":
        raise DataError(
            f"pixels of dtype {array.dtype} have no known range",
            where=where,
            hint="use uint8, uint16, or floats in 0…1",
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # written so that NaN fails too
        raise DataError(
            f"float pixels must lie in 0…1, these go from {low:.4g} to {high:.4g}",
            where=where,
            hint="leave normalising to torchgraft (preprocessing=), or scale the images to 0…1",
        )
    return array.astype(np.float32)
