"""A picture → the model's input: resize, centre crop, scale to 0…1, normalise, as timm does to evaluate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from torchgraft.model_info import Preprocessing

if TYPE_CHECKING:
    from torchgraft.finetuning.images.reading import Picture

__all__ = ["evaluation_input", "evaluation_pixels", "normalised", "size_before_crop"]


def evaluation_input(picture: Picture, how: Preprocessing) -> torch.Tensor:
    """The picture as float32 (channels, height, width).

    The shorter side is resized to `size / crop`, rounded down, with antialiasing, and the centre cut
    out; for a size that isn't square, the side that is relatively shorter. With `squash` both sides are
    resized to that. A picture that is smaller than the cut is padded with black.
    """
    return normalised(evaluation_pixels(picture, how), how)


def evaluation_pixels(picture: Picture, how: Preprocessing) -> torch.Tensor:
    """The same before it is normalised: uint8 as long as the picture is, else float32 in 0…1."""
    height, width = _height_width(picture)
    new_height, new_width = size_before_crop(height, width, how)
    return _centre(_resize(picture, new_height, new_width, how), how.size)


def normalised(picture: Picture, how: Preprocessing) -> torch.Tensor:
    """Scale to 0…1, subtract the mean, divide by the standard deviation."""
    tensor = picture if isinstance(picture, torch.Tensor) else _pixels(picture)
    if tensor.dtype == torch.uint8:
        tensor = tensor.float() / 255
    mean = torch.tensor(how.mean, dtype=torch.float32)[:, None, None]
    std = torch.tensor(how.std, dtype=torch.float32)[:, None, None]
    return (tensor - mean) / std


def size_before_crop(height: int, width: int, how: Preprocessing) -> tuple[int, int]:
    """Height and width before the crop: torchvision's rounding for squares, timm's for the rest."""
    target_height, target_width = (math.floor(side / how.crop) for side in how.size)
    if how.squash:
        return target_height, target_width
    if target_height == target_width:
        short, long = min(height, width), max(height, width)
        longer = int(target_height * long / short)
        return (target_height, longer) if height <= width else (longer, target_height)
    ratio = min(height / target_height, width / target_width)
    return round(height / ratio), round(width / ratio)


def _resize(picture: Picture, height: int, width: int, how: Preprocessing) -> Picture:
    if _height_width(picture) == (height, width):
        return picture
    if isinstance(picture, torch.Tensor):
        if picture.dtype == torch.uint8:
            picture = picture.float() / 255
        antialias = how.interpolation != "nearest"
        mode = how.interpolation if antialias else "nearest-exact"
        sized = functional.interpolate(picture[None], (height, width), mode=mode, antialias=antialias)
        return sized[0].clamp(0, 1)  # bicubic overshoots; PIL clips too
    from PIL import Image

    filters = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
    }
    return picture.resize((width, height), filters[how.interpolation])


def _centre(picture: Picture, size: tuple[int, int]) -> torch.Tensor:
    tensor = picture if isinstance(picture, torch.Tensor) else _pixels(picture)
    missing = [max(wanted - has, 0) for wanted, has in zip(size, tensor.shape[1:], strict=True)]
    if any(missing):
        top, left = missing[0] // 2, missing[1] // 2
        tensor = functional.pad(tensor, (left, missing[1] - left, top, missing[0] - top))
    top, left = (round((has - wanted) / 2) for wanted, has in zip(size, tensor.shape[1:], strict=True))
    return tensor[:, top : top + size[0], left : left + size[1]]


def _pixels(picture: Picture) -> torch.Tensor:
    array = np.array(picture)  # a copy: PIL's own memory is read-only
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(array))


def _height_width(picture: Picture) -> tuple[int, int]:
    if isinstance(picture, torch.Tensor):
        return int(picture.shape[1]), int(picture.shape[2])
    return picture.height, picture.width
