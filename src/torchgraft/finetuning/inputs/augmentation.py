"""Training's variations of a photo: a random part of it, mirrored half of the time, and more if asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning.inputs.input_tensor import normalised
from torchgraft.finetuning.inputs.mask_tensor import varied_mask
from torchgraft.finetuning.requirements import require
from torchgraft.finetuning.seeding import drawn
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
        strength: `"light"`: only these; `"trivial"` or `"rand"`: then TrivialAugmentWide or RandAugment.

    Raises:
        TrainingError: The stronger ones know grey and colour images only.
    """

    def __init__(
        self, how: Preprocessing, *, scale: tuple[float, float], seed: int, strength: str = "light"
    ) -> None:
        require("torchvision")
        from torchvision.transforms import InterpolationMode, v2

        if strength != "light" and how.channels not in (1, 3):
            raise TrainingError(
                f"augment={strength!r} is for images of 1 or 3 channels, and the model takes {how.channels}",
                hint="use augment='light'",
            )
        self.how = how
        self.seed = seed
        self.strength = strength
        interpolation = InterpolationMode(how.interpolation)
        steps: list[Any] = [
            v2.RandomResizedCrop(how.size, scale=scale, interpolation=interpolation, antialias=True),
            v2.RandomHorizontalFlip(),
        ]
        if strength == "trivial":
            steps.append(v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR))
        elif strength == "rand":
            steps.append(v2.RandAugment(interpolation=InterpolationMode.BILINEAR))
        self._vary = v2.Compose(steps)

    def __call__(self, picture: Picture, *, epoch: int, index: int) -> torch.Tensor:
        """A variation of the picture as float32 (channels, height, width)."""
        with drawn(self.seed, epoch, index):
            return self._normalised(self._vary(picture))

    def pair(
        self, picture: Picture, mask: torch.Tensor, *, epoch: int, index: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same part of a picture and of its mask (height, width), whose numbers are never mixed.

        Raises:
            TrainingError: The stronger variations would bend the picture only.
        """
        from torchvision import tv_tensors

        if self.strength != "light":
            raise TrainingError(
                f"augment={self.strength!r} is not for masks", hint="use augment='light' or False"
            )
        if isinstance(picture, torch.Tensor):
            picture = tv_tensors.Image(picture)
        with drawn(self.seed, epoch, index):
            varied, found = self._vary(picture, varied_mask(mask))
        if isinstance(varied, torch.Tensor):
            varied = varied.as_subclass(torch.Tensor)
        return self._normalised(varied), found.as_subclass(torch.Tensor)

    def _normalised(self, varied: Picture) -> torch.Tensor:
        if isinstance(varied, torch.Tensor) and varied.is_floating_point():
            varied = varied.clamp(0, 1)
        return normalised(varied, self.how)
