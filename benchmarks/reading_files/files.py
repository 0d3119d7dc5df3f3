"""The files that are read: many small tensors, few large ones, and none with a value."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

__all__ = ["empty", "large", "many"]


def many(folder: Path, count: int) -> tuple[Path, Path, Path]:
    """`count` tensors of four elements: as `torch.save` writes them now, as it did, and as safetensors."""
    state = {f"layers.{n}.weight": torch.full((4,), float(n)) for n in range(count)}
    new, old, safe = folder / "many.pth", folder / "many_legacy.pth", folder / "many.safetensors"
    torch.save(state, new)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    save_file(state, safe)
    return new, old, safe


def large(folder: Path, nbytes: int) -> tuple[Path, Path, Path]:
    """A few hundred tensors of 4 MiB, the same in a `.pth`, a safetensors file and an `.npz`."""
    state = {f"layers.{n}.weight": torch.randn(256, 4096) for n in range(max(10, nbytes >> 22))}
    pth, safe, npz = folder / "large.pth", folder / "large.safetensors", folder / "large.npz"
    torch.save(state, pth)
    save_file(state, safe)
    np.savez(npz, **{name: tensor.numpy() for name, tensor in state.items()})
    return pth, safe, npz


def empty(folder: Path, count: int) -> Path:
    """A safetensors file of so many tensors without an element."""
    path = folder / f"empty{count}.safetensors"
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"layers.{n}.weight": entry for n in range(count)}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path
