"""Tensors over memory of their own for what lies in a file as the model wants it: no copy is made first."""

from __future__ import annotations

import math

import torch

from torchgraft.storage.file_memory import FileMemory, Place

__all__ = ["OwnMemory"]


class OwnMemory:
    """Finds what needs no change, and gives it once all of it is known.

    Args:
        for_training: Whether every element will be written to.
    """

    def __init__(self, *, for_training: bool) -> None:
        self._memory = FileMemory(read=for_training)
        self._kept: dict[str, tuple[Place, torch.dtype, tuple[int, ...]]] = {}

    def keeps(
        self, name: str, value: torch.Tensor, dtype: torch.dtype, device: torch.device | str | None
    ) -> bool:
        """Whether it is a file's and fits as it is; then `tensor` gives it under this name."""
        if (
            value.dtype != dtype
            or value.device.type != "cpu"
            or (device is not None and torch.device(device).type != "cpu")
            or not value.numel()
            or not value.is_contiguous()
            or value.is_conj()
            or value.is_neg()
        ):
            return False
        place = self._memory.reserve(value.data_ptr(), value.numel() * value.element_size())
        if place is None:
            return False
        self._kept[name] = place, dtype, tuple(value.shape)
        return True

    def __enter__(self) -> OwnMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()

    def fill(self) -> None:
        """Have it all in memory.

        Raises:
            CorruptCheckpointError: A file has become shorter meanwhile.
        """
        self._memory.fill()

    def tensor(self, name: str) -> torch.Tensor:
        """What was kept under this name."""
        place, dtype, shape = self._kept[name]
        buffer, offset = self._memory.part(place)
        return torch.frombuffer(buffer, dtype=dtype, count=math.prod(shape), offset=offset).view(shape)

    def __contains__(self, name: str) -> bool:
        return name in self._kept
