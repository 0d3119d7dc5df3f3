"""A checkpoint of a run: tensors as safetensors, all else as JSON, in a folder that is whole or not there."""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from torchgraft.errors import SaveError
from torchgraft.storage.atomic_folder import atomic_folder
from torchgraft.storage.temporaries import sweep

__all__ = [
    "Checkpoint",
    "Tensors",
    "drop",
    "read_checkpoint",
    "saved_checkpoints",
    "tidy",
    "write_checkpoint",
]

Tensors: TypeAlias = Mapping[str, Mapping[str, torch.Tensor]]
"""By file (`model`, `optimizer`, `averages`, `best`), then by name."""

_STATE = "state.json"
_VERSION = 1
_BLOCK = 1 << 22

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a folder holds: plain data, and tensors by file and name."""

    path: Path
    state: dict[str, Any]
    tensors: Tensors


def write_checkpoint(path: Path, state: Mapping[str, Any], tensors: Tensors) -> None:
    """Write the folder, with a checksum of each file in it.

    Raises:
        SaveError: It can't be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise SaveError(f"can't be made: {error}", where=str(path.parent)) from error
    with atomic_folder(path, mine=lambda name: name == _STATE or name.endswith(".safetensors")) as folder:
        sums = {}
        for name, group in tensors.items():
            file = folder / f"{name}.safetensors"
            save_file(_alone(group), file)
            sums[file.name] = _checksum(file)
        data = {"torchgraft_checkpoint": _VERSION, "crc32": sums, **state}
        (folder / _STATE).write_text(json.dumps(data), encoding="utf-8")


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The folder's content; `None`, with a warning, if it is damaged or not whole."""
    try:
        state = json.loads((path / _STATE).read_text(encoding="utf-8"))
        if state["torchgraft_checkpoint"] != _VERSION:
            raise ValueError(f"of another version, {state['torchgraft_checkpoint']}")
        tensors = {}
        for name, checksum in state["crc32"].items():
            file = path / name
            if _checksum(file) != checksum:
                raise ValueError(f"{name} is not what was written")
            tensors[file.stem] = load_file(file)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        _log.warning("the checkpoint %s is damaged (%s) and is left out", path, error)
        return None
    return Checkpoint(path, state, tensors)


def saved_checkpoints(folder: Path, kind: str) -> list[Path]:
    """The folders `kind-1`, `kind-2`, …, the highest number first."""

    found = [path for path in folder.glob(f"{kind}-*") if _number(path) >= 0]
    return sorted(found, key=_number, reverse=True)


def drop(*paths: Path) -> None:
    """Remove checkpoints, their list of files first, so that half a one is not taken for a whole."""
    for path in paths:
        (path / _STATE).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)


def tidy(folder: Path, *, used: Path | None) -> None:
    """Remove what can't be gone on from: steps after the one that is `used`, and half-written folders.

    A process that was killed left them, or they are damaged.
    """
    if not folder.is_dir():
        return
    newest = _number(used) if used is not None else -1
    drop(*(path for path in saved_checkpoints(folder, "step") if _number(path) > newest))
    for path in folder.glob(".*"):
        sweep(folder / path.name[1:].partition(".")[0])


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def _alone(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous tensors that share no memory, as safetensors wants them."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        where = plain.untyped_storage().data_ptr()
        if plain.untyped_storage().nbytes() != plain.nbytes or where in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        found[name] = plain
    return found


def _checksum(path: Path) -> int:
    value = 0
    for block in _blocks(path):
        value = zlib.crc32(block, value)
    return value


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
