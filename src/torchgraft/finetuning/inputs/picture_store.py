"""Pictures that were decoded once, kept in memory that all worker processes share, as far as they fit."""

from __future__ import annotations

import mmap
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchgraft.finetuning.machine import available_memory

if TYPE_CHECKING:
    from torchgraft.finetuning.images.reading import Picture

__all__ = ["PictureStore"]

_SHARE = 0.2
"""Of the memory that is available when a store is made."""

_TENSOR, _CHANNELS_LAST, _PHOTO = 1, 2, 3
_KIND, _START, _CHANNELS, _HEIGHT, _WIDTH = range(5)


class PictureStore:
    """Keeps the 8-bit pictures of a data set; what it gives back is what it was given, bit for bit.

    Memory is taken as it fills. Worker processes that are forked fill it together; to processes that are
    started otherwise an empty store arrives that keeps nothing.

    Args:
        count: How many pictures there may be.
        limit: The most bytes to keep; a fifth of the memory available now, if not given, divided among the
            processes that torchrun started on this machine.
    """

    def __init__(self, count: int, limit: int | None = None) -> None:
        if limit is None:
            limit = int(available_memory() * _SHARE) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self._limit = limit if count else 0
        if not self._limit:
            return
        self._lock = multiprocessing.Lock()
        self._pixels = mmap.mmap(-1, self._limit)
        self._table = np.frombuffer(mmap.mmap(-1, (count + 1) * 5 * 8), dtype=np.int64).reshape(count + 1, 5)
        self._used = self._table[count]

    def get(self, index: int) -> Picture | None:
        """The picture; `None` if it isn't kept. A tensor is not to be changed."""
        if not self._limit or not self._table[index, _KIND]:
            return None
        kind, start, *shape = self._table[index].tolist()
        flat = torch.frombuffer(self._pixels, dtype=torch.uint8, count=int(np.prod(shape)), offset=start)
        if kind == _TENSOR:
            return flat.view(shape)
        channels, height, width = shape
        pixels = flat.view(height, width, channels)
        if kind == _CHANNELS_LAST:
            return pixels.permute(2, 0, 1)
        from PIL import Image

        return Image.fromarray((pixels if channels == 3 else pixels[..., 0]).numpy())

    def add(self, index: int, picture: Picture) -> None:
        """Keep the picture if it is of 8 bits and there is room."""
        if not self._limit:
            return
        array: np.ndarray[Any, Any]
        if isinstance(picture, torch.Tensor):
            if picture.dtype != torch.uint8:
                return
            array, kind, shape = picture.numpy(), _TENSOR, tuple(picture.shape)
            if not picture.is_contiguous() and picture.permute(1, 2, 0).is_contiguous():
                # As decoders give it. Another layout costs a slow copy, and makes each resizing slow.
                array, kind = picture.permute(1, 2, 0).numpy(), _CHANNELS_LAST
        else:
            array, kind = np.asarray(picture), _PHOTO
            shape = (len(picture.getbands()), picture.height, picture.width)
        with self._lock:
            start = int(self._used[_START])
            if start + array.nbytes > self._limit:
                return
            self._used[_START] = start + array.nbytes
        kept = np.frombuffer(self._pixels, dtype=np.uint8, count=array.nbytes, offset=start)
        np.copyto(kept.reshape(array.shape), array)
        self._table[index, _START:] = (start, *shape)
        self._table[index, _KIND] = kind  # last: another process may be looking

    def __len__(self) -> int:
        return int((self._table[:-1, _KIND] != 0).sum()) if self._limit else 0

    def __reduce__(self) -> tuple[Any, ...]:
        return (PictureStore, (0, 0))
