"""Training's variations of a photo: a random part of it at a random size, mirrored half of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchgraft.finetuning.input_tensor import normalised
from torchgraft.finetuning.requirements import require
from torchgraft.model_info import Preprocessing

if TYPE_CHECKING:
    from torchgraft.finetuning.images.reading import Picture

__all__ = ["Augmentation"]


class Augmentation:
    """Random resized crop and horizontal flip by torchvision, then the model's own normalisation.

    Args:
        how: The model's preprocessing; its `size` and `interpolation` are kept.
        scale: Smallest and largest share of the photo's area that a crop covers.
        seed: With the same seed, photo `index` of epoch `epoch` always looks the same, whatever
            the number of workers or processes.
    """

    def __init__(self, how: Preprocessing, *, scale: tuple[float, float], seed: int) -> None:
        require("torchvision")
        from torchvision.transforms import InterpolationMode, v2

        self.how = how
        self.seed = seed
        self._vary = v2.Compose(
            [
                v2.RandomResizedCrop(
                    how.size, scale=scale, interpolation=InterpolationMode(how.interpolation), antialias=True
                ),
                v2.RandomHorizontalFlip(),
            ]
        )

    def __call__(self, picture: Picture, *, epoch: int, index: int) -> torch.Tensor:
        """A variation of the picture as float32 (channels, height, width)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((self.seed, epoch, index)) % 2**63)
            varied = self._vary(picture)
        if isinstance(varied, torch.Tensor):
            varied = varied.clamp(0, 1)
        return normalised(varied, self.how)
