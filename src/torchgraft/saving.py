"""Writes models and weights: a safetensors or `.pth` file, or a folder from which the model can be rebuilt.

A safetensors file carries in its header how its model is rebuilt, so weights and description are one file
and change together; the `torchgraft.json` in a folder is a copy of it for people.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import SaveError
from torchgraft.model_info import info_of
from torchgraft.storage.atomic import atomic_file, write_text_atomic

__all__ = ["DESCRIPTION_FILE", "DESCRIPTION_KEY", "DESCRIPTION_VERSION", "WEIGHTS_FILE", "save"]

WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "torchgraft.json"
DESCRIPTION_KEY = "torchgraft"
"""The header entry of a safetensors file that holds the description."""

DESCRIPTION_VERSION = 1

_log = logging.getLogger(__name__)


def save(source: nn.Module | Checkpoint | Mapping[str, torch.Tensor], path: str | os.PathLike[str]) -> Path:
    """Write a model or its weights, whole or not at all.

    Args:
        source: A model; or weights alone, as an opened checkpoint or a state dict.
        path: A file that ends in `.safetensors`, `.pth` or `.pt`, or a folder. `torchgraft.load` gives the
            model back from a folder or a `.safetensors` file of a model that torchgraft built.

    Returns:
        The file or folder written.

    Raises:
        SaveError: Nothing was written, and what was there before still is.
    """
    target = Path(path)
    tensors, info = _contents(source, target)
    if target.suffix in (".pth", ".pt"):
        with atomic_file(target) as file:
            _write_pth(tensors, file)
        return target
    description = _as_text(info)
    if target.suffix == ".safetensors":
        _write_safetensors(tensors, description, target)
        return target
    if target.suffix and not target.is_dir():
        raise SaveError(
            f"files of the kind {target.suffix!r} are not written",
            where=str(target),
            hint="end the name in .safetensors or .pth, or name a folder",
        )
    _make_folder(target)
    _write_safetensors(tensors, description, target / WEIGHTS_FILE)
    write_text_atomic(target / DESCRIPTION_FILE, description + "\n")
    return target


def _contents(
    source: nn.Module | Checkpoint | Mapping[str, torch.Tensor], target: Path
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    about: dict[str, Any] = {"torchgraft_model": DESCRIPTION_VERSION, "info": None}
    if isinstance(source, nn.Module):
        about |= {"class": type(source).__name__, "info": info_of(source).to_json()}
        entries = {k: v for k, v in source.state_dict().items() if not k.endswith("_extra_state")}
    else:
        entries = source.state_dict() if isinstance(source, Checkpoint) else dict(source)
    for key, value in entries.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise SaveError(
                f"the entry {key!r} ({type(value).__name__}) is not a named tensor",
                where=str(target),
                hint="save the model, or the part that holds its weights, such as it['state_dict']",
            )
        if value.is_meta:
            raise SaveError(
                f"{key!r} is on the meta device and has no values",
                where=str(target),
                hint="load weights into the model first",
            )
    return entries, about


def _write_pth(tensors: Mapping[str, torch.Tensor], file: IO[bytes]) -> None:
    try:
        torch.save(tensors, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch hides what the disk said behind its own complaint
            raise error.__context__ from None
        raise


def _as_text(about: dict[str, Any]) -> str:
    """The description as JSON. Builder arguments may be anything; what is not plain data can't be kept."""
    try:
        return json.dumps(about, indent=1, ensure_ascii=False)
    except (TypeError, ValueError):
        info = about["info"]
        _log.warning(
            "the arguments of %s are not plain data, so the file won't say how the model is built; "
            "load it with torchgraft.load(path, model=…)",
            info["builder"],
        )
        info |= {"builder": None, "builder_args": {}, "surgery": []}
        return json.dumps(about, indent=1, ensure_ascii=False)


def _write_safetensors(tensors: Mapping[str, torch.Tensor], description: str, path: Path) -> None:
    try:
        data = safetensors_bytes(_unshared(tensors), {"format": "pt", DESCRIPTION_KEY: description})
    except (ValueError, RuntimeError, KeyError) as error:
        raise SaveError(
            f"these tensors can't be written as safetensors: {error}",
            where=str(path),
            hint="end the name in .pth",
        ) from error
    with atomic_file(path) as file:
        file.write(data)


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous tensors, each with memory of its own, as the format wants; ties are the model's to make."""
    seen: set[int] = set()
    own: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        tensor = tensor.detach().resolve_conj().resolve_neg()  # the format knows neither mark
        storage = tensor.untyped_storage().data_ptr()
        own[key] = tensor.clone().contiguous() if storage in seen else tensor.contiguous()
        seen.add(storage)
    return own


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"can't make this folder: {error.strerror}", where=str(path), hint="name another one"
        ) from error
