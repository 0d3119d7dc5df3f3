"""timm's hub layout: `model.safetensors` and the `config.json` from which timm builds the model itself.

What the config may say is in timm's `models/_hub.py` (`save_config_for_hf`, `load_model_config_from_path`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from torchgraft.anatomy.image_attributes import declared_image_sizes
from torchgraft.errors import MissingDependencyError, SaveError
from torchgraft.exporting.facts import labels_of, preprocessing_of, public, sizes_of
from torchgraft.exporting.parity import same_model
from torchgraft.exporting.placing import CARD_FILE, exported_folder, write_json
from torchgraft.exporting.quietly import quietly
from torchgraft.exporting.result import Exported
from torchgraft.model_info import info_of
from torchgraft.saving import DESCRIPTION_KEY, WEIGHTS_FILE
from torchgraft.saving.description import description_of
from torchgraft.saving.memory_tensors import refs_of
from torchgraft.saving.safetensors_file import SafetensorsFile

__all__ = ["export_timm", "is_timm"]

_OF_THE_SOURCE = (
    "url", "file", "hf_hub_id", "hf_hub_filename", "source", "state_dict", "tag",
    "label_offset", "label_names", "label_descriptions", "test_input_size", "test_crop_pct", "test_pool_size",
    "license", "description", "notes",
)  # fmt: skip
"""What timm's config of a model says of the weights that timm publishes for it, not of these."""

_PLACING = ("device", "dtype", "pretrained_model_args")


def is_timm(model: nn.Module) -> bool:
    """Whether timm built it."""
    config = getattr(model, "pretrained_cfg", None)
    return isinstance(config, Mapping) and isinstance(config.get("architecture"), str)


def export_timm(model: nn.Module, path: Path, inputs: object, card: str) -> Exported:
    """Write the folder, once timm has read it back as the same model.

    Raises:
        SaveError: The model is not timm's, or was changed in a way that timm can't rebuild.
        MissingDependencyError: timm is absent.
    """
    if not is_timm(model):
        raise SaveError(
            f"{type(model).__name__} was not built by timm, so timm can't build it again",
            where=str(path),
            hint='export it as "torchvision" (a state dict), "onnx" or "torch.export"',
        )
    config = _config(model, path)
    with exported_folder(path) as temporary:
        _write_weights(model, temporary / WEIGHTS_FILE)
        write_json(temporary / "config.json", config)
        checked, difference = same_model(
            model, _read_back(temporary, model, path), inputs, where=str(path), library="timm"
        )
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")
    return Exported(path, "timm", checked, difference)


def _write_weights(model: nn.Module, file: Path) -> None:
    """All of them, tied ones under each name, since timm ties none; `torchgraft.load` reads them too."""
    tensors = {k: v for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
    with public(model):
        texts = {"format": "pt", DESCRIPTION_KEY: description_of(model, None, where=str(file))}
    contents = SafetensorsFile(refs_of(tensors), texts, where=str(file))
    with file.open("wb") as stream:
        contents.write(stream)


def _config(model: nn.Module, path: Path) -> dict[str, Any]:
    known: Mapping[str, Any] = cast(Any, model).pretrained_cfg
    sizes = sizes_of(model)
    classes = getattr(model, "num_classes", sizes.classes)
    if sizes.channels is None or not isinstance(classes, int):
        raise SaveError(
            "its input channels and classes can't be told",
            where=str(path),
            hint="keep it with torchgraft.save",
        )
    preprocessing = preprocessing_of(model, sizes.channels)
    kept = {key: value for key, value in known.items() if key not in _OF_THE_SOURCE and value is not None}
    kept |= {"custom_load": False, "num_classes": classes, "classifier": known.get("classifier")}
    size = tuple(known.get("input_size", (3, 224, 224))[1:])
    fixed = bool(known.get("fixed_input_size"))
    if preprocessing is not None:
        size = preprocessing.size
        kept |= {
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop,
            "crop_mode": "squash" if preprocessing.squash else "center",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        }
    arguments = _arguments(model, sizes.channels, size if fixed else None)
    kept["input_size"] = [sizes.channels, *arguments.get("img_size", size)]
    if kept.get("min_input_size"):
        kept["min_input_size"] = [sizes.channels, *kept["min_input_size"][1:]]
    # Before 1.0.20 or so timm takes a first layer of other than 3 channels for one that it has yet to change.
    kept["first_conv"] = known.get("first_conv") if sizes.channels == 3 else None
    kept["pool_size"] = known.get("pool_size") if size == tuple(known["input_size"][1:]) else None
    config = {
        "architecture": kept.pop("architecture"),
        "num_classes": classes,
        "num_features": getattr(model, "num_features", None),
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": kept,
    }
    labels = labels_of(model, classes)
    if labels is not None and classes:
        config["label_names"] = list(labels)
    return config


def _arguments(model: nn.Module, channels: int, size: tuple[int, ...] | None) -> dict[str, Any]:
    """What the builder is told again. `num_classes` stands elsewhere in the config."""
    told = {**getattr(model, "_model_args", {}), **info_of(model).builder_args}
    arguments = {key: _plain(value) for key, value in told.items() if key not in (*_PLACING, "num_classes")}
    if channels != 3 or "in_chans" in arguments:
        arguments["in_chans"] = channels
    if size is not None or "img_size" in arguments:
        declared = next(declared_image_sizes(model), size)
        arguments["img_size"] = list(declared) if declared is not None else None
    return {key: value for key, value in arguments.items() if value is not None}


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read_back(folder: Path, model: nn.Module, path: Path) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            "timm is not installed, and has to read back what is written for it",
            where=str(path),
            hint="pip install 'torchgraft[vision]'",
        ) from error
    try:
        with quietly():
            again: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except Exception as error:  # timm's builders raise whatever their layers do
        raise SaveError(
            f"timm can't build this model again: {type(error).__name__}: {str(error)[:300]}",
            where=str(path),
            hint="it has been changed in a way that timm's arguments can't say: keep it with torchgraft.save",
        ) from error
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return again.to(device=first.device, dtype=first.dtype).eval()
