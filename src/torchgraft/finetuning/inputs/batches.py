"""Photos → batches of inputs for a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.reading import DatasetEntry
from torchgraft.finetuning.inputs.augmentation import Augmentation
from torchgraft.finetuning.inputs.input_tensor import evaluation_input, evaluation_pixels, normalised
from torchgraft.finetuning.inputs.mask_tensor import evaluation_mask
from torchgraft.finetuning.inputs.picture_store import PictureStore
from torchgraft.finetuning.machine import cores
from torchgraft.model_info import Preprocessing

if TYPE_CHECKING:
    from torchgraft.finetuning.images.reading import Picture

__all__ = ["EpochOrder", "Inputs", "batches", "usual_workers"]

_FEW = 500
"""Images below which starting a worker takes longer than it saves."""


class Inputs(Dataset[tuple[torch.Tensor, Any, int]]):
    """Entry `i` is (input, target, i), with `augmentation` varied anew each `epoch`.

    Args:
        images: What to take pictures and labels from.
        how: Makes the picture an input.
        augmentation: Varies it; `None`: as for evaluation.
        target: Makes the label, or the mask as a tensor, a target (`Task.target`); without it, targets are 0.
        repeated: Whether every image is read again and again, as in training: then decoded pictures, or
            without augmentation resized ones, are kept in memory as far as they fit.
    """

    def __init__(
        self,
        images: Images,
        how: Preprocessing,
        augmentation: Augmentation | None = None,
        *,
        target: Callable[[Any], Any] | None = None,
        repeated: bool = False,
    ) -> None:
        self.target = target
        self.images = images
        self.how = how
        self.augmentation = augmentation
        self._masked = images.task == "segmentation"
        self.kept = PictureStore(len(images) if repeated else 0)
        self._epoch = torch.zeros(1, dtype=torch.int64)
        with suppress(RuntimeError, OSError):  # without shared memory there are no workers either
            self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # workers outlive an epoch

    @property
    def epoch(self) -> int:
        """Which epoch's variations to give."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any, int]:
        picture = self._picture(index)
        if self.target is not None and self._masked:
            tensor, mask = self._with_mask(index, picture)
            return tensor, self.target(mask), index
        if self.augmentation is None:
            seen = evaluation_pixels(picture, self.how) if self._masked else picture
            tensor = normalised(seen, self.how)
        else:
            tensor = self.augmentation(picture, epoch=self.epoch, index=index)
        return tensor, 0 if self.target is None else self.target(self.images.labels[index]), index

    def _picture(self, index: int) -> Picture:
        """What is the same in every epoch: the decoded picture, or the part of it that the model sees."""
        picture = self.kept.get(index)
        if picture is None:
            varied = self.augmentation is not None
            picture = self.images.image(index, self.how.channels, tensors=varied)
            if not varied and not self._masked:
                picture = evaluation_pixels(picture, self.how)
            item = self.images.items[index]
            if item.fixed if isinstance(item, DatasetEntry) else True:
                self.kept.add(index, picture)
        return picture

    def _with_mask(self, index: int, picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
        """The same part of the picture and of its mask."""
        mask = torch.from_numpy(self.images.mask(index))
        size = tuple(picture.shape[-2:]) if isinstance(picture, torch.Tensor) else picture.size[::-1]
        if size != tuple(mask.shape):
            raise DataError(
                f"the image has {size[0]} x {size[1]} pixels (height x width), its mask "
                f"{mask.shape[0]} x {mask.shape[1]}",
                where=self.images.names[index],
            )
        if self.augmentation is None:
            return evaluation_input(picture, self.how), evaluation_mask(mask, self.how)
        return self.augmentation.pair(picture, mask, epoch=self.epoch, index=index)


class EpochOrder(Sampler[int]):
    """An order of its own for each epoch, known from seed and epoch alone.

    Where the last batch would be a single photo, one photo sits the epoch out: batch normalisation
    can't learn from one. An epoch can begin after its first `start` photos, which then are not read.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count = count
        self.used = count - 1 if count % batch_size == 1 and count > batch_size > 1 else count
        self.seed = seed
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Which epoch the next iteration is for, and how many of its photos have been used already."""
        self.epoch = epoch
        self.start = start

    def __len__(self) -> int:
        return max(self.used - self.start, 0)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(self.count, generator=generator)[self.start : self.used].tolist()


def batches(
    inputs: Inputs, *, batch_size: int, workers: int | None = 0, order: EpochOrder | None = None
) -> DataLoader[Any]:
    """A loader of (inputs, targets, indices); in the data's own order unless `order` is given.

    `workers` are processes that read images; `None`: see `usual_workers`.
    """
    if workers is None:
        workers = usual_workers(len(inputs))
    return DataLoader(
        inputs,
        batch_size=batch_size,
        sampler=order,
        shuffle=False,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Of its own, so that nothing is drawn from everybody's when an epoch begins, or is gone on with.
        generator=torch.Generator().manual_seed(0),
    )


def usual_workers(images: int) -> int:
    """How many processes should read so many images on this machine.

    None for a small set, which is read before they have started. Without a GPU, training takes all cores
    itself, and a worker takes what it gives.
    """
    if images < _FEW:
        return 0
    mine = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(8, max(mine - 1, 0)) if torch.cuda.is_available() else min(4, mine // 4)
