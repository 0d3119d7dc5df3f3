"""`save(…, like=…)`: a model's weights back in the form of the checkpoint that they came from."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from torchgraft import checkpoint as checkpoints
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import SaveError
from torchgraft.formats.safetensors import LAYOUTS_KEY
from torchgraft.model_info import DESCRIPTION_KEY
from torchgraft.planning import Plan
from torchgraft.planning import plan as make_plan
from torchgraft.saving.file_sizes import size_in_bytes
from torchgraft.saving.memory_tensors import refs_of
from torchgraft.saving.own_sizes import with_own_sizes
from torchgraft.saving.safetensors_file import SafetensorsFile
from torchgraft.saving.targets import make_folder
from torchgraft.saving.torch_file import torch_save
from torchgraft.saving.weights_folder import WEIGHTS_FILE, WeightsFolder
from torchgraft.storage.atomic import atomic_file

__all__ = ["Like", "Sizes", "save_like"]

Like = str | os.PathLike[str] | Checkpoint
Sizes = Literal["model", "checkpoint"]

_TORCH_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
_WRITTEN = ("torch zip", "torch legacy", "torch tar", "safetensors", "safetensors shards")
_OF_OURS = (LAYOUTS_KEY, DESCRIPTION_KEY)

_log = logging.getLogger(__name__)


def save_like(
    model: object,
    target: Path,
    like: Like,
    *,
    plan: Plan | str | os.PathLike[str] | None = None,
    sizes: Sizes = "model",
    shard_size: int | str | None = None,
) -> Path:
    """Write the model in the names, fusion, order, dtypes and container of a checkpoint.

    See `torchgraft.save` for the arguments. What could not go back, or is the checkpoint's own, is logged.

    Raises:
        SaveError: The checkpoint's container is none that is written, and the name does not say another.
        MatchError: No plan was given, and the model's tensors can't be paired with the checkpoint's.
        CheckpointError: The checkpoint, or the plan, can't be read.
        ModelError: The plan is another model's.
    """
    if not isinstance(model, nn.Module):
        raise SaveError(
            "like= is for a model", where=str(target), hint="for weights alone: plan.restore(weights)"
        )
    base = like if isinstance(like, Checkpoint) else checkpoints.open(like)
    file = _file(target, base)
    if plan is None:
        plan = make_plan(model, base)
    elif not isinstance(plan, Plan):
        plan = Plan.load(plan)
    notes: list[str] = []
    kept = base
    if sizes == "model":
        plan, resized = with_own_sizes(plan, model.state_dict())
        kept = base.holding({name: ref for name, ref in base.items() if name not in resized})
        shown = [
            f"{name} {list(shape)} (there {list(base[name].shape)})"
            for name, shape in resized.items()
            if name in base and base[name].shape != shape
        ]
        notes += [f"of the model's size: {', '.join(shown[:3])}{_more(shown)}"] if shown else []
    restored = plan.restore(model, base=kept)
    notes += restored.notes
    tensors = _tied(restored.tensors, base)
    if file.suffix in _TORCH_ENDINGS:
        whole, left = _wrapped(tensors, base)
        notes += [f"not written: {', '.join(left[:8])}{_more(left, 8)}, the rest of the file"] if left else []
        with atomic_file(file) as stream:
            torch_save(whole, stream)
    else:
        _write_safetensors(tensors, base, file, shard_size)
    for note in notes:
        _log.warning("%s: %s", file, note)
    return file


def _more(items: list[str], most: int = 3) -> str:
    return f" and {len(items) - most} more" if len(items) > most else ""


def _file(target: Path, base: Checkpoint) -> Path:
    """What is written: the path if it names a kind; else a folder, or in it a file of the source's name."""
    if target.suffix in (*_TORCH_ENDINGS, ".safetensors") and not target.is_dir():
        return target
    if target.suffix and not target.is_dir():
        raise SaveError(
            f"files of the kind {target.suffix!r} are not written",
            where=str(target),
            hint="end the name in .safetensors or .pth, or name a folder",
        )
    if base.format not in _WRITTEN:
        raise SaveError(
            f"{base.name} is {base.format or 'in memory'}, which is not written",
            where=str(target),
            hint=f"end the name in .safetensors or .pth: {target / 'model.safetensors'}",
        )
    if base.format == "safetensors shards":
        return target
    name = base.path.name if base.path is not None else ""
    endings = (".safetensors",) if base.format == "safetensors" else _TORCH_ENDINGS
    if not name.endswith(endings):
        name = WEIGHTS_FILE if base.format == "safetensors" else "model.pth"
    make_folder(target)
    return target / name


def _tied(tensors: Mapping[str, torch.Tensor], base: Checkpoint) -> dict[str, torch.Tensor]:
    """What was tied in the checkpoint is one tensor again, if it is still equal."""
    firsts: dict[str, torch.Tensor] = {}
    found = {}
    for name, tensor in tensors.items():
        alias = base[name].alias if name in base else None
        first = firsts.setdefault(alias, tensor) if alias else tensor
        same = first.shape == tensor.shape and first.dtype == tensor.dtype and torch.equal(first, tensor)
        found[name] = first if same else tensor
    return found


def _wrapped(tensors: dict[str, torch.Tensor], base: Checkpoint) -> tuple[dict[str, Any], list[str]]:
    """The tensors where the file had them, such as under `state_dict`; what else was in that file."""
    if not base.part or not base.format.startswith("torch"):
        return tensors, []
    path, rest = base.part.split("."), base.metadata
    left: list[str] = []
    for key in path:
        left += [other for other in rest if other != key]
        inner = rest.get(key)
        rest = inner if isinstance(inner, Mapping) else {}
    whole: dict[str, Any] = tensors
    for key in reversed(path):
        whole = {key: whole}
    return whole, left


def _write_safetensors(
    tensors: Mapping[str, torch.Tensor], base: Checkpoint, file: Path, shard_size: int | str | None
) -> None:
    refs = refs_of(tensors)
    said = base.metadata if base.format.startswith("safetensors") else {}
    texts = {key: value for key, value in said.items() if isinstance(value, str) and key not in _OF_OURS}
    layouts = {name: base[name].layout for name in refs if name in base and base[name].layout}
    metadata = {"format": "pt", **texts, **({LAYOUTS_KEY: json.dumps(layouts)} if layouts else {})}
    if file.suffix == ".safetensors":
        contents = SafetensorsFile(refs, metadata, where=str(file))
        with atomic_file(file) as stream:
            contents.write(stream)
        return
    most = size_in_bytes(shard_size) if shard_size is not None else _largest_shard(base)
    WeightsFolder(refs, metadata, most, where=str(file)).write(file, beside_others=True)


def _largest_shard(base: Checkpoint) -> int | None:
    """How large the checkpoint's own shards are, at most."""
    folder = base.path if base.path is None or base.path.is_dir() else base.path.parent
    sizes = [each.stat().st_size for each in folder.glob("*.safetensors")] if folder is not None else []
    return max(sizes, default=None)
