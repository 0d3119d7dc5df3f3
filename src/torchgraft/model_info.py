"""What a model remembers of where it came from: enough to feed it, to name its outputs, to rebuild it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DESCRIPTION_KEY", "ModelInfo", "Preprocessing", "attach_info", "describe", "info_of"]

DESCRIPTION_KEY = "torchgraft"
"""Where a file that `save` wrote keeps the description of its model, in its metadata."""

_ATTRIBUTE = "torchgraft_info"
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the model's input: resize, centre crop, scale to 0…1, normalise.

    Attributes:
        size: Height and width of the input, in pixels.
        crop: Share of the resized image's shorter side that the crop keeps: the image is first
            resized so that its shorter side is `size / crop`.
        interpolation: `"bilinear"`, `"bicubic"` or `"nearest"`.
        mean: One number a channel, subtracted after scaling to 0…1.
        std: One number a channel, divided by after that.
        squash: Height and width are resized each to `size / crop`; the image's proportions are not kept.
    """

    size: tuple[int, int] = (224, 224)
    crop: float = 0.875
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    squash: bool = False

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return len(self.mean)

    def with_channels(self, channels: int) -> Preprocessing:
        """The same for another number of channels: each takes the average mean and std.

        Averaging is what a stem that was collapsed to one channel has been fed in training; where
        extra channels have statistics of their own, set `mean` and `std` yourself.
        """
        if channels == self.channels:
            return self
        mean = sum(self.mean) / self.channels
        std = sum(self.std) / self.channels
        if channels > self.channels:
            extra = channels - self.channels
            return replace(self, mean=self.mean + (mean,) * extra, std=self.std + (std,) * extra)
        return replace(self, mean=(mean,) * channels, std=(std,) * channels)

    def followed_by(self, scale: Sequence[float], shift: Sequence[float]) -> Preprocessing:
        """The same, then times `scale` plus `shift`, one number a channel each; as one normalisation."""
        std = tuple(std / times for std, times in zip(self.std, scale, strict=True))
        mean = tuple(mean - by * over for mean, by, over in zip(self.mean, shift, std, strict=True))
        return replace(self, mean=mean, std=std)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: The data is something else.
        """
        height, width = data["size"]
        read = cls(
            size=(int(height), int(width)),
            crop=float(data["crop"]),
            interpolation=data["interpolation"],
            mean=tuple(map(float, data["mean"])),
            std=tuple(map(float, data["std"])),
            squash=data.get("squash", False) is True,  # files of before it was known don't say it
        )
        if min(read.size) < 1 or not 0 < read.crop < math.inf or read.interpolation not in _INTERPOLATIONS:
            raise ValueError(f"no image can be prepared like this: {dict(data)}")
        if not read.mean or len(read.mean) != len(read.std) or 0 in read.std:
            raise ValueError(f"mean {list(read.mean)} and std {list(read.std)} don't fit together")
        return read


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model's origin.

    Attributes:
        builder: What `create_model` was asked for, such as `"timm/resnet18"`; `None` for a model
            that the user built.
        builder_args: Further keyword arguments of the builder; plain data.
        surgery: The arguments of each `adapt` since, in order, with the sites it found spelled out.
        labels: Class names, in the order of the outputs.
        preprocessing: What turns an image into the model's input.
        weights: Where the weights came from: `source`, and whatever else is known (`sha256`, …).
        task: What its outputs are: `"classes"`, `"multi-label"`, `"regression"` or `"segmentation"`, as
            `finetune` trained it; `None`: not known. Labels of a regression name its numbers.
    """

    builder: str | None = None
    builder_args: Mapping[str, Any] = field(default_factory=dict)
    surgery: tuple[Mapping[str, Any], ...] = ()
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "builder": self.builder,
            "builder_args": dict(self.builder_args),
            "surgery": [dict(step) for step in self.surgery],
            "labels": [str(label) for label in self.labels] if self.labels is not None else None,
            "preprocessing": self.preprocessing.to_json() if self.preprocessing else None,
            "weights": {key: str(value) for key, value in self.weights.items()},
            "task": self.task,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelInfo:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: The data is something else.
        """
        return cls(
            builder=_text(data["builder"]) if data["builder"] is not None else None,
            builder_args=dict(data["builder_args"]),
            surgery=tuple(dict(step) for step in data["surgery"]),
            labels=_texts(data["labels"]) if data["labels"] is not None else None,
            preprocessing=Preprocessing.from_json(data["preprocessing"]) if data["preprocessing"] else None,
            weights={_text(key): _text(value) for key, value in dict(data["weights"]).items()},
            # files of before it was known don't say it
            task=_text(data["task"]) if data.get("task") is not None else None,
        )


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is not a list of texts")
    return tuple(map(_text, values))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def info_of(model: nn.Module) -> ModelInfo:
    """What the model remembers; an empty `ModelInfo` for a model torchgraft has not touched."""
    info = getattr(model, _ATTRIBUTE, None)
    return info if isinstance(info, ModelInfo) else ModelInfo()


def describe(
    model: nn.Module,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> nn.Module:
    """Tell a model its class names or its preprocessing; what is `None` stays as it was.

    `predict`, `evaluate` and `finetune` use both, and `save` keeps them. Returns the model.

    Raises:
        TypeError: `labels` is one string, whose letters would become the names.
    """
    if isinstance(labels, str):
        raise TypeError(f"labels={labels!r} is one string; torchgraft.read_labels(path) reads names")
    info = info_of(model)
    if labels is not None:
        info = replace(info, labels=tuple(labels))
    if preprocessing is not None:
        info = replace(info, preprocessing=preprocessing)
    attach_info(model, info)
    return model


def attach_info(model: nn.Module, info: ModelInfo) -> None:
    """Let the model remember `info`, in place of what it remembered."""
    setattr(model, _ATTRIBUTE, info)
