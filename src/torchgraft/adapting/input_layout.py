"""How the channels of an image lie in what a stem sees, where the model rearranges its pixels first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["InputLayout"]


@dataclass(frozen=True, slots=True)
class InputLayout:
    """The inputs of a stem that sees each channel several times, such as once for every pixel of a patch.

    Attributes:
        axis: The image's axis of channels.
        channels: How many the image has.
        copies: How often the stem sees each.
        together: Whether the copies of a channel lie together; else the channels of a pixel do.
    """

    axis: int
    channels: int
    copies: int
    together: bool

    @property
    def sources(self) -> list[int]:
        """For each input of the stem the channel that it is from."""
        size = self.channels * self.copies
        return [place // self.copies if self.together else place % self.channels for place in range(size)]

    def channels_in(self, inputs: int) -> int:
        """The channels of an image of which such a stem sees so many inputs.

        Raises:
            AdaptError: They are no multiple of the copies.
        """
        channels, rest = divmod(inputs, self.copies)
        if rest:
            raise AdaptError(f"{inputs} inputs are no multiple of {self.copies}, the stem's for each channel")
        return channels

    def apart(self, weight: torch.Tensor) -> torch.Tensor:
        """`(out, inputs, *kernel)` → `(out, channels, copies, *kernel)`, for any number of channels."""
        channels = self.channels_in(weight.shape[1])
        parts = (channels, self.copies) if self.together else (self.copies, channels)
        split = weight.reshape(weight.shape[0], *parts, *weight.shape[2:])
        return split if self.together else split.transpose(1, 2)

    def joined(self, weight: torch.Tensor) -> torch.Tensor:
        """The inverse of `apart`."""
        return (weight if self.together else weight.transpose(1, 2)).flatten(1, 2)
