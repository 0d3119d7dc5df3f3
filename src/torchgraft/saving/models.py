"""`save`: a model or its weights become a safetensors or `.pth` file, or a folder to rebuild the model from.

A safetensors file carries in its header how its model is rebuilt, so weights and description are one file
and change together; the `torchgraft.json` in a folder is a copy of it for people.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import SaveError
from torchgraft.model_info import DESCRIPTION_KEY
from torchgraft.planning import Plan
from torchgraft.saving.description import description_of
from torchgraft.saving.file_sizes import size_in_bytes
from torchgraft.saving.likeness import Like, Sizes, save_like
from torchgraft.saving.memory_tensors import compact, needs_torch, refs_of
from torchgraft.saving.safetensors_file import SafetensorsFile
from torchgraft.saving.targets import Kind, kind_of
from torchgraft.saving.ties import tie_notes, tied_to
from torchgraft.saving.torch_file import torch_save, write_torch_file
from torchgraft.saving.weights_folder import WeightsFolder
from torchgraft.saving.whole_model import save_whole
from torchgraft.storage.atomic import atomic_file

__all__ = ["save"]


def save(
    source: nn.Module | Checkpoint | Mapping[str, torch.Tensor],
    path: str | os.PathLike[str],
    *,
    shard_size: int | str | None = None,
    whole: bool = False,
    notes: Mapping[str, object] | None = None,
    like: Like | None = None,
    plan: Plan | str | os.PathLike[str] | None = None,
    sizes: Sizes = "model",
) -> Path:
    """Write a model or its weights, whole or not at all: what was there before stays until all is written.

    Tied weights of a model are stored once, and `load` ties them again. Weights alone are stored under each
    of their names in safetensors, since nobody would tie them again. Of a slice of a larger tensor only the
    slice is written.

    Args:
        source: A model; or weights alone, as an opened checkpoint or a state dict.
        path: A file that ends in `.safetensors`, `.pth` or `.pt`, or a folder. `torchgraft.load` gives the
            model back from a folder or a `.safetensors` file of a model that torchgraft built. A folder
            that holds weights alone is replaced as a whole, in one step; other files in it stay.
        shard_size: How large a file in the folder may be, such as `"500MB"` or a number of bytes:
            `model-00001-of-00004.safetensors`, …, with an index, as Hugging Face's libraries read them.
        whole: Pickle the model itself into a `.pth` file, code and all, as `torch.save(model, path)` does.
        notes: What else the description is to say, such as metrics; plain data.
        like: A checkpoint, or where it is: write the model in its names, fusion, order, dtypes and kind of
            file, for the code that it came from. Under `state_dict`, say, if it has the weights there. The
            path may be a folder, for a file of the checkpoint's name. What can't go back is logged.
        plan: With `like`: the plan by which the model got its weights, or a file of it. It is made anew by
            default, and may have been made before the model's sizes were changed.
        sizes: With `like`: a head, stem or table whose size was changed goes back in the `"model"`'s size,
            under the checkpoint's name; or is brought to the `"checkpoint"`'s, see `Plan.restore`.

    Returns:
        The file or folder written.

    Raises:
        SaveError: Nothing was written, and what was there before still is.
        MatchError, CheckpointError, ModelError: The model is not one that `like` and `plan` are for.
        ValueError: `shard_size` is no size.
    """
    target = Path(path)
    if like is not None:
        if whole or notes is not None:
            raise SaveError("like= writes weights alone", where=str(target), hint="without whole=, notes=")
        return save_like(source, target, like, plan=plan, sizes=sizes, shard_size=shard_size)
    if plan is not None:
        raise SaveError("a plan says how to go back to a checkpoint", where=str(target), hint="like=…")
    kind = kind_of(target)
    most = None if shard_size is None else size_in_bytes(shard_size)
    if most is not None and kind is not Kind.FOLDER:
        raise SaveError("several files need a folder", where=str(target), hint="name a folder: out/")
    if notes is not None and kind is Kind.TORCH:
        raise SaveError(
            "a .pth file has no place for notes", where=str(target), hint="end the name in .safetensors"
        )
    if whole:
        save_whole(source, target)
        return target
    if isinstance(source, Checkpoint):
        tensors, refs = None, dict(source)
    else:
        tensors = _tensors(source, target)
        refs = refs_of(tensors)
    if kind is Kind.TORCH:
        with atomic_file(target) as file:
            if tensors is not None and needs_torch(tensors):
                torch_save(compact(tensors), file)
            else:
                write_torch_file(refs, file)
        return target
    metadata = {"format": "pt"}
    description = description_of(source, notes, where=str(target))
    tied = tied_to(refs, (*metadata, DESCRIPTION_KEY)) if isinstance(source, nn.Module) else {}
    refs = {key: ref for key, ref in refs.items() if key not in tied}
    if kind is Kind.SAFETENSORS:
        texts = {**metadata, **tie_notes(tied, refs), DESCRIPTION_KEY: description}
        contents = SafetensorsFile(refs, texts, where=str(target))
        with atomic_file(target) as file:
            contents.write(file)
        return target
    folder = WeightsFolder(refs, metadata, most, description=description, tied=tied, where=str(target))
    folder.write(target, beside_others=True)
    return target


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
