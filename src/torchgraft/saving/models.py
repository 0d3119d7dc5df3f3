"""`save`: a model or its weights become a safetensors or `.pth` file, or a folder to rebuild the model from.

A safetensors file carries in its header how its model is rebuilt, so weights and description are one file
and change together; the `torchgraft.json` in a folder is a copy of it for people.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import SaveError
from torchgraft.model_info import DESCRIPTION_KEY, info_of
from torchgraft.saving.safetensors_file import SafetensorsFile
from torchgraft.saving.targets import Kind, kind_of, make_folder
from torchgraft.saving.torch_file import torch_save, write_torch_file
from torchgraft.storage.atomic import atomic_file, write_text_atomic
from torchgraft.tensors import TensorRef

__all__ = ["DESCRIPTION_FILE", "DESCRIPTION_KEY", "DESCRIPTION_VERSION", "WEIGHTS_FILE", "save"]

WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "torchgraft.json"

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
    if isinstance(source, Checkpoint):
        refs, about = dict(source), _about(None)
    else:
        tensors = _tensors(source, target)
        refs, about = {key: _ref(key, tensor) for key, tensor in tensors.items()}, _about(source)
    kind = kind_of(target)
    if kind is Kind.TORCH:
        with atomic_file(target) as file:
            if isinstance(source, Checkpoint):
                write_torch_file(refs, file)
            else:
                torch_save(tensors, file)
        return target
    description = _as_text(about)
    if kind is Kind.SAFETENSORS:
        _write_safetensors(refs, description, target)
        return target
    make_folder(target)
    _write_safetensors(refs, description, target / WEIGHTS_FILE)
    write_text_atomic(target / DESCRIPTION_FILE, description + "\n")
    return target


def _about(source: object) -> dict[str, Any]:
    about: dict[str, Any] = {"torchgraft_model": DESCRIPTION_VERSION, "info": None}
    if isinstance(source, nn.Module):
        about |= {"class": type(source).__name__, "info": info_of(source).to_json()}
    return about


def _tensors(source: nn.Module | Mapping[str, torch.Tensor], target: Path) -> dict[str, torch.Tensor]:
    if isinstance(source, nn.Module):
        entries = {k: v for k, v in source.state_dict().items() if not k.endswith("_extra_state")}
    else:
        entries = dict(source)
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
    return entries


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


def _write_safetensors(refs: Mapping[str, TensorRef], description: str, path: Path) -> None:
    contents = SafetensorsFile(refs, {"format": "pt", DESCRIPTION_KEY: description}, where=str(path))
    with atomic_file(path) as file:
        contents.write(file)


def _ref(key: str, tensor: torch.Tensor) -> TensorRef:
    dtype = str(tensor.dtype).removeprefix("torch.")
    layout = "" if tensor.layout == torch.strided else str(tensor.layout).removeprefix("torch.")
    return TensorRef(key, tuple(tensor.shape), dtype, fetch=tensor.detach().__getitem__, layout=layout)
