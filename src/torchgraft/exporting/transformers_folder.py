"""transformers' folder: what its own `save_pretrained` writes, with class names and preprocessing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

from torch import nn

from torchgraft.errors import SaveError
from torchgraft.exporting.facts import labels_of, preprocessing_of, sizes_of
from torchgraft.exporting.parity import same_model
from torchgraft.exporting.placing import CARD_FILE, exported_folder, write_json
from torchgraft.exporting.quietly import quietly, without_progress
from torchgraft.exporting.result import Exported
from torchgraft.model_info import Preprocessing

__all__ = ["export_transformers", "is_transformers"]

_RESAMPLE = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # Pillow's numbers


def is_transformers(model: nn.Module) -> bool:
    """Whether it is a model of transformers: one that saves itself, with a config that says what it is."""
    config = getattr(model, "config", None)
    return hasattr(config, "model_type") and all(
        callable(getattr(model, name, None)) for name in ("save_pretrained", "from_pretrained")
    )


def export_transformers(model: nn.Module, path: Path, inputs: object, card: str) -> Exported:
    """Write the folder, once `from_pretrained` has read it back as the same model.

    Raises:
        SaveError: The model is not one of transformers, or was changed in a way that its config can't say.
    """
    if not is_transformers(model):
        raise SaveError(
            f"{type(model).__name__} is no model of transformers: it has no config and save_pretrained",
            where=str(path),
            hint='export it as "timm" if it is timm\'s, as "torchvision" (a state dict) or "onnx"',
        )
    sizes = sizes_of(model)
    with exported_folder(path) as temporary:
        with quietly(), without_progress():
            cast(Any, model).save_pretrained(temporary)
        _name_classes(temporary / "config.json", labels_of(model, sizes.classes))
        preprocessing = preprocessing_of(model, sizes.channels)
        if preprocessing is not None and getattr(model, "main_input_name", "") == "pixel_values":
            write_json(temporary / "preprocessor_config.json", _processor(preprocessing))
        again = _read_back(model, temporary, path)
        checked, difference = same_model(model, again, inputs, where=str(path), library="transformers")
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")
    return Exported(path, "transformers", checked, difference)


def _name_classes(file: Path, labels: tuple[str, ...] | None) -> None:
    if labels is None:
        return
    config = json.loads(file.read_text(encoding="utf-8"))
    config["id2label"] = dict(enumerate(labels))
    config["label2id"] = {label: index for index, label in enumerate(labels)}
    write_json(file, config)


def _processor(preprocessing: Preprocessing) -> dict[str, Any]:
    """A processor whose steps are ours: shorter side or both sides, centre crop, 0…1, normalise."""
    height, width = preprocessing.size
    rows, columns = (math.floor(side / preprocessing.crop) for side in preprocessing.size)
    shorter = {"shortest_edge": min(rows, columns)}
    size = {"height": rows, "width": columns} if preprocessing.squash else shorter
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": preprocessing.channels == 3,
        "do_resize": True,
        "size": size,
        "resample": _RESAMPLE[preprocessing.interpolation],
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }


def _read_back(model: nn.Module, folder: Path, path: Path) -> nn.Module:
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    try:
        with quietly(), without_progress():
            again = cast(nn.Module, cast(Any, type(model)).from_pretrained(folder))
    except Exception as error:  # whatever a model's constructor raises
        raise SaveError(
            f"transformers can't build this model again: {type(error).__name__}: {str(error)[:300]}",
            where=str(path),
            hint="it has been changed in a way that its config can't say: keep it with torchgraft.save",
        ) from error
    return again.to(device=first.device, dtype=first.dtype).eval() if first is not None else again.eval()
