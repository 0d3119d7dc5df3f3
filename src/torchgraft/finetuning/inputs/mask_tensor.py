"""A mask → a target: resized and cropped exactly as its picture is, its numbers never mixed."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from torchgraft.finetuning.images.masks import IGNORED
from torchgraft.finetuning.inputs.input_tensor import size_before_crop
from torchgraft.model_info import Preprocessing

__all__ = ["evaluation_mask", "varied_mask"]


def evaluation_mask(mask: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """The mask (height, width) at the model's input size, int64; padding is of no class."""
    sized = _nearest(mask, size_before_crop(mask.shape[0], mask.shape[1], how))
    missing = [max(wanted - has, 0) for wanted, has in zip(how.size, sized.shape, strict=True)]
    top, left = missing[0] // 2, missing[1] // 2
    padded = functional.pad(sized, (left, missing[1] - left, top, missing[0] - top), value=IGNORED)
    top, left = (round((has - wanted) / 2) for wanted, has in zip(how.size, padded.shape, strict=True))
    return padded[top : top + how.size[0], left : left + how.size[1]]


def varied_mask(mask: torch.Tensor) -> Any:
    """The mask as one of torchvision's, whose random crops are resized with pixels' centres in place.

    Its own masks are moved by half a pixel there: their kernel is `nearest`, not `nearest-exact`.
    """
    return _mask_type()(mask)


@cache
def _mask_type() -> type[Any]:
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import functional as vary

    class Mask(tv_tensors.Mask):  # type: ignore[misc]  # torchvision has no types
        pass

    @vary.register_kernel(functional="resized_crop", tv_tensor_cls=Mask)  # type: ignore[untyped-decorator]
    def resized_crop(
        found: torch.Tensor, top: int, left: int, height: int, width: int, size: list[int], **_: object
    ) -> Any:
        part = found.as_subclass(torch.Tensor)[top : top + height, left : left + width]
        return tv_tensors.wrap(_nearest(part, (size[0], size[-1])), like=found)

    return Mask


def _nearest(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """By PIL, as pictures are, so that both take the same pixel where two are equally near."""
    image = Image.fromarray(mask.numpy().astype(np.int32))
    resized = image.resize((size[1], size[0]), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(resized, dtype=np.int64))
