"""Features on disk: one safetensors file a model, one row an image, found again by the image's content."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from torchgraft.errors import SaveError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.storage.atomic import atomic_file

__all__ = ["FeatureCache", "fingerprint"]

_log = logging.getLogger(__name__)


class FeatureCache:
    """The features of one model.

    Since rows are found by content, another split, a renamed folder or added photos cost only
    what is new.

    Args:
        folder: Made if it is absent.
        model_key: Names the model; see `features._model_key`.

    Raises:
        SaveError: The folder can't be made.
    """

    def __init__(self, folder: Path, model_key: str) -> None:
        self._path = folder / f"features-{model_key}.safetensors"
        self._rows: dict[bytes, int] = {}
        self._features: torch.Tensor | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaveError(f"the folder can't be made: {error}", where=str(folder)) from error
        if self._path.exists():
            self._load()

    def missing(self, prints: list[bytes]) -> list[int]:
        """Positions of the images whose features aren't here, each content once."""
        first: dict[bytes, int] = {}
        for index, key in enumerate(prints):
            if key not in self._rows:
                first.setdefault(key, index)
        return list(first.values())

    def add(self, prints: list[bytes], features: torch.Tensor, *, write: bool) -> None:
        """Take in features (images, features) and, if `write`, keep them on disk."""
        start = len(self._rows)
        self._rows.update({key: start + offset for offset, key in enumerate(prints)})
        self._features = features if self._features is None else torch.cat([self._features, features])
        if write:
            keys = np.frombuffer(b"".join(self._rows), dtype=np.uint8).reshape(len(self._rows), -1)
            tensors = {"features": self._features.contiguous(), "images": torch.from_numpy(keys.copy())}
            with atomic_file(self._path) as file:
                file.write(save(tensors))

    def rows(self, prints: list[bytes]) -> torch.Tensor:
        """The features of these images, in this order."""
        assert self._features is not None
        return self._features[[self._rows[key] for key in prints]]

    def _load(self) -> None:
        """A file that isn't what we wrote is as good as none: its features are computed anew."""
        try:
            tensors = load_file(self._path)
            keys, features = tensors["images"], tensors["features"]
            if keys.ndim != 2 or features.ndim != 2 or len(keys) != len(features):
                raise ValueError(f"shapes {tuple(keys.shape)} and {tuple(features.shape)}")
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            _log.warning("%s is not a feature cache (%s) and is written anew", self._path, error)
            return
        self._features = features
        self._rows = {bytes(row): index for index, row in enumerate(keys.numpy())}


def fingerprint(images: Images, index: int, channels: int) -> bytes:
    """16 bytes of a SHA-256 of the picture: a file's bytes, or the decoded pixels."""
    item = images.items[index]
    if isinstance(item, (str, Path)):
        return hashlib.sha256(Path(item).read_bytes()).digest()[:16]
    pixels: Any = np.asarray(images.image(index, channels))
    head = f"{pixels.dtype}\0{pixels.shape}\0".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).digest()[:16]
