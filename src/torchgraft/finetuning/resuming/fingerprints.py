"""Short texts by which a resumed run tells that its data and its start are those it began with."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from torchgraft.finetuning.images.image_set import Images

__all__ = ["data_fingerprint", "fingerprints", "model_fingerprint"]

_DIGITS = 16


def fingerprints(train: Images, val: Images, model: nn.Module) -> dict[str, str]:
    """All of a run."""
    return {
        "train": data_fingerprint(train),
        "val": data_fingerprint(val),
        "model": model_fingerprint(model),
    }


def data_fingerprint(images: Images) -> str:
    """Of names, labels and classes in their order, the sizes of files, and the content of arrays."""
    seen = hashlib.sha256(repr((images.task, images.classes)).encode())
    for item, label, name in zip(images.items, images.labels, images.names, strict=True):
        seen.update(f"{name}\0{_plain(label)}\0{_plain(item)}\n".encode("utf-8", "backslashreplace"))
    return seen.hexdigest()[:_DIGITS]


def model_fingerprint(model: nn.Module) -> str:
    """Of the names, shapes and values of all its tensors."""
    seen = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            seen.update(f"{name}\0{_plain(tensor)}\n".encode())
    return seen.hexdigest()[:_DIGITS]


def _plain(value: Any) -> str:
    if isinstance(value, (str, Path)):
        try:
            return str(os.stat(value).st_size)  # noqa: PTH116 (as fast as it gets, for a million files)
        except (OSError, ValueError):
            return str(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        return f"{value.dtype} {tuple(value.shape)} {_sum(value.reshape(-1).view(torch.uint8).numpy())}"
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return f"{array.dtype} {array.shape} {_sum(array)}"
    if isinstance(value, (bool, int, float, tuple, np.generic)):
        return str(value)
    return type(value).__name__


def _sum(array: np.ndarray[Any, Any]) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data) if array.size and array.dtype != object else 0
