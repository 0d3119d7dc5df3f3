"""What a model remembers of where it came from: enough to feed it, to name its outputs, to rebuild it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ModelInfo", "Preprocessing", "attach_info", "describe", "info_of"]

_ATTRIBUTE = "torchgraft_info"


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
    """

    size: tuple[int, int] = (224, 224)
    crop: float = 0.875
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

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

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_json`."""
        height, width = data["size"]
        return cls(
            size=(int(height), int(width)),
            crop=float(data["crop"]),
            interpolation=data["interpolation"],
            mean=tuple(map(float, data["mean"])),
            std=tuple(map(float, data["std"])),
        )


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
    """

    builder: str | None = None
    builder_args: Mapping[str, Any] = field(default_factory=dict)
    surgery: tuple[Mapping[str, Any], ...] = ()
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    weights: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "builder": self.builder,
            "builder_args": dict(self.builder_args),
            "surgery": [dict(step) for step in self.surgery],
            "labels": list(self.labels) if self.labels is not None else None,
            "preprocessing": self.preprocessing.to_json() if self.preprocessing else None,
            "weights": dict(self.weights),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelInfo:
        """The inverse of `to_json`."""
        return cls(
            builder=data["builder"],
            builder_args=dict(data["builder_args"]),
            surgery=tuple(dict(step) for step in data["surgery"]),
            labels=tuple(data["labels"]) if data["labels"] is not None else None,
            preprocessing=Preprocessing.from_json(data["preprocessing"]) if data["preprocessing"] else None,
            weights=dict(data["weights"]),
        )


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
    """
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
