"""Photos → batches of inputs for a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from torchgraft.finetuning.augmentation import Augmentation
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.input_tensor import evaluation_input
from torchgraft.model_info import Preprocessing

__all__ = ["EpochOrder", "Inputs", "batches"]


class Inputs(Dataset[tuple[torch.Tensor, int, int]]):
    """Entry `i` is (input, label, i), with `augmentation` varied anew each `epoch`."""

    def __init__(self, images: Images, how: Preprocessing, augmentation: Augmentation | None = None) -> None:
        self.images = images
        self.how = how
        self.augmentation = augmentation
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        picture = self.images.image(index, self.how.channels)
        if self.augmentation is None:
            tensor = evaluation_input(picture, self.how)
        else:
            tensor = self.augmentation(picture, epoch=self.epoch, index=index)
        return tensor, self.images.labels[index], index


class EpochOrder(Sampler[int]):
    """An order of its own for each epoch, known from seed and epoch alone.

    Where the last batch would be a single photo, one photo sits the epoch out: batch normalisation
    can't learn from one.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count = count
        self.used = count - 1 if count % batch_size == 1 and count > batch_size > 1 else count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.used

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(self.count, generator=generator)[: self.used].tolist()


def batches(
    inputs: Inputs, *, batch_size: int, workers: int = 0, order: EpochOrder | None = None
) -> DataLoader[Any]:
    """A loader of (inputs, labels, indices); in the data's own order unless `order` is given."""
    return DataLoader(inputs, batch_size=batch_size, sampler=order, shuffle=False, num_workers=workers)
