"""What is known of a model that others want to know: its sizes, class names, preprocessing, origin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath, PureWindowsPath

from torch import nn

from torchgraft.anatomy import examine
from torchgraft.anatomy.configs import labels_in_config
from torchgraft.errors import AnatomyError
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info, info_of

__all__ = ["Sizes", "labels_of", "preprocessing_of", "public", "sizes_of", "without_folders"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Input channels and classes; `None` where they can't be told."""

    channels: int | None
    classes: int | None


def sizes_of(model: nn.Module) -> Sizes:
    """As the model's own attributes say (`adapt` keeps them right), else as its layers show."""
    channels, classes = (_count(getattr(model, name, None)) for name in ("in_chans", "num_classes"))
    config = getattr(model, "config", None)
    channels = channels or _count(getattr(config, "num_channels", None))
    classes = classes or _count(getattr(config, "num_labels", None))
    if channels is None or classes is None:
        try:
            anatomy = examine(model)
        except AnatomyError:
            return Sizes(channels, classes)
        stems = [site for site in anatomy.stems if site.kind != "embedding"]
        channels = channels or next((site.channels for site in stems), None)
        classes = classes or next((site.classes for site in anatomy.heads), None)
    return Sizes(channels, classes)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def labels_of(model: nn.Module, classes: int | None) -> tuple[str, ...] | None:
    """Class names, if there is one for each class."""
    labels = info_of(model).labels or labels_in_config(model)
    return labels if labels is not None and classes in (None, len(labels)) else None


def preprocessing_of(model: nn.Module, channels: int | None) -> Preprocessing | None:
    """What turns an image into the model's input, as it remembers it, else as timm's own config has it."""
    known = info_of(model).preprocessing
    config = getattr(model, "pretrained_cfg", None)
    if known is None and isinstance(config, Mapping) and "mean" in config:
        method = config.get("interpolation")
        known = Preprocessing(
            size=tuple(config["input_size"][1:]),
            crop=float(config.get("crop_pct", 0.875)),
            interpolation=method if method in ("bilinear", "nearest") else "bicubic",
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            squash=config.get("crop_mode") == "squash",
        )
    return known.with_channels(channels) if known is not None and channels is not None else known


@contextmanager
def public(model: nn.Module) -> Iterator[ModelInfo]:
    """Within the block the model remembers where its weights are from without this machine's folders."""
    info = info_of(model)
    weights = {key: without_folders(value) for key, value in info.weights.items()}
    shown = replace(info, weights=weights)
    if shown == info:
        yield info
        return
    attach_info(model, shown)
    try:
        yield shown
    finally:
        attach_info(model, info)


_PART = re.compile(r" \[[^\]]*\]$")
_PATH = re.compile(r"(?<![\w.:/\\-])(?:~|[A-Za-z]:)?[/\\](?![/\\])\S+")


def without_folders(text: str) -> str:
    """A text that is a path, or holds absolute ones, with only the files' names; addresses stay."""
    part = _PART.search(text)
    whole = text[: part.start()] if part else text
    if _PATH.match(whole) and "\n" not in whole:
        return _name(whole) + (part[0] if part else "")
    return _PATH.sub(lambda found: _name(found[0]), text)


def _name(path: str) -> str:
    return (PureWindowsPath(path) if "\\" in path else PurePath(path)).name or path
