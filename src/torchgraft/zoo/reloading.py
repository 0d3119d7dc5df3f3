"""`load`: the model that `save` wrote, rebuilt."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from torchgraft import checkpoint as checkpoints
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AdaptError, AnatomyError, CheckpointError, CoverageError, ModelError
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info, info_of
from torchgraft.planning import Plan, plan
from torchgraft.saving import DESCRIPTION_KEY, DESCRIPTION_VERSION, INDEX_FILE, WEIGHTS_FILE
from torchgraft.surgery import adapt
from torchgraft.zoo.creating import check_arguments, fill
from torchgraft.zoo.placing import placed
from torchgraft.zoo.sources import find_source
from torchgraft.zoo.tying import tie

if TYPE_CHECKING:
    import torch

__all__ = ["load"]

_log = logging.getLogger(__name__)


def load(
    path: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    builder: str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    for_training: bool = False,
) -> nn.Module:
    """Give back the model of a folder or `.safetensors` file that `save` wrote, in evaluation mode.

    Args:
        path: The folder, or the file.
        model: The model to fill, where torchgraft did not build it itself.
        builder: `"your_module:function"`, said again: a file is not trusted to name code to run.
        dtype: Of its floating-point tensors, whatever it was when they were saved; by default as it is built.
        device: Where the model is to be.
        for_training: Say so if all weights will be written to, see `torchgraft.Plan.apply`.

    Raises:
        CheckpointError: It is not such a folder or file, or is damaged.
        ModelError: It does not say how its model is built, and neither do you.
        CoverageError: The weights are not all of the model's, in its sizes.
    """
    checkpoint = checkpoints.open(_weights_of(Path(path)))
    info, tied = _read_info(checkpoint)
    if model is not None:
        _whole(plan(placed(model, dtype, device), checkpoint)).apply(device=device, for_training=for_training)
        origin = info_of(model)
        attach_info(
            model,
            replace(info, builder=origin.builder, builder_args=origin.builder_args, surgery=origin.surgery),
        )
        return model.eval()
    name = _trusted(info, builder, where=str(path))
    check_arguments(info.builder_args)
    source, inner = find_source(name)

    def build() -> nn.Module:
        built = source.build(inner, info.builder_args)
        attach_info(
            built, ModelInfo(preprocessing=Preprocessing())
        )  # some steps ask for one; `info` has the real one
        try:
            for step in info.surgery:
                adapt(built, **step)
        except (TypeError, RuntimeError, AdaptError, AnatomyError) as error:
            raise _damaged(checkpoint, error) from error
        return built

    rebuilt = fill(
        build,
        replace(info, builder=name),
        checkpoint,
        dtype=dtype,
        device=device,
        for_training=for_training,
    )
    tie(rebuilt, tied)
    attach_info(rebuilt, replace(info_of(rebuilt), weights=info.weights))
    if info_of(rebuilt).labels != info.labels:
        _log.warning("%s: its class names don't fit its head, and are left out", path)
    return rebuilt.eval()


def _weights_of(path: Path) -> Path:
    """The file that says all: in a folder the one, or the index of several."""
    if not path.is_dir():
        return path
    index = path / INDEX_FILE
    return index if index.is_file() and not (path / WEIGHTS_FILE).is_file() else path / WEIGHTS_FILE


def _read_info(checkpoint: Checkpoint) -> tuple[ModelInfo, dict[str, str]]:
    """What the model shall remember, and which of its parameters are one, see `tie`."""
    text = checkpoint.metadata.get(DESCRIPTION_KEY)
    try:
        data: Mapping[str, Any] = json.loads(str(text)) if text is not None else {}
        version = data.get("torchgraft_model", DESCRIPTION_VERSION)
        info = ModelInfo.from_json(data["info"]) if data.get("info") else ModelInfo()
        tied = {str(name): str(kept) for name, kept in dict(data.get("tied", {})).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(checkpoint, error) from error
    if version != DESCRIPTION_VERSION:
        raise CheckpointError(
            f"its description of the model has version {version!r}, this torchgraft reads "
            f"{DESCRIPTION_VERSION}",
            where=checkpoint.name,
            hint="update torchgraft",
        )
    return info, tied


def _damaged(checkpoint: Checkpoint, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"its description of the model is damaged: {error}",
        where=checkpoint.name,
        hint="if the weights are what you want, build the model and load them: torchgraft.graft(model, path)",
    )


def _whole(fitted: Plan) -> Plan:
    """The plan, if it gives back what was saved: nothing new, nothing of another size."""
    for entry in fitted:
        counter = entry.buffer and not entry.dtype.startswith(("float", "bfloat", "complex"))
        if entry.ops or (entry.status == "fresh" and not counter):
            raise CoverageError(
                f"was saved from another model than this {fitted.model}: {entry.why}",
                where=entry.name,
                hint="bring the model to the saved one's sizes with torchgraft.adapt, or "
                "take what fits with torchgraft.graft",
            )
    return fitted


def _trusted(info: ModelInfo, builder: str | None, *, where: str) -> str:
    if info.builder is None and builder is None:
        raise ModelError(
            "does not say how its model is built",
            where=where,
            hint="build the model yourself and pass it: torchgraft.load(path, model=your_model)",
        )
    if builder is not None:
        return builder
    assert info.builder is not None
    if ":" in info.builder:
        raise ModelError(
            f"was built by {info.builder!r}, and a file is not trusted to name code to run",
            where=where,
            hint=f"if you trust it, say so: torchgraft.load(path, builder={info.builder!r})",
        )
    return info.builder
