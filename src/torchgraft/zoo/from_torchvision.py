"""torchvision's models and their published weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import nn

from torchgraft.errors import MissingDependencyError, ModelError
from torchgraft.model_info import Preprocessing
from torchgraft.zoo.published_weights import PublishedWeights
from torchgraft.zoo.sources import nearest

__all__ = ["TorchvisionSource"]

_TRANSFORMING = ("googlenet", "inception_v3", "quantized_googlenet", "quantized_inception_v3")


class TorchvisionSource:
    """Builders of `torchvision.models`, classification and others."""

    def build(self, name: str, arguments: Mapping[str, Any]) -> nn.Module:
        """The model, randomly initialised; nothing is downloaded."""
        models = _models()
        known = models.list_models()
        if name not in known:
            raise nearest(name, known, prefix="torchvision")
        extra: dict[str, Any] = {"weights": None}
        if "weights_backbone" in _parameters(models.get_model_builder(name)):
            extra["weights_backbone"] = None
        if name in _TRANSFORMING:
            extra["init_weights"] = False  # their own slow one is deprecated; layers initialise themselves
        try:
            return cast(nn.Module, models.get_model(name, **(extra | dict(arguments))))
        except (TypeError, ValueError) as error:
            raise ModelError(f"can't be built: {error}", where=f"torchvision/{name}") from error

    def preprocessing(self, name: str) -> Preprocessing | None:
        """What the default weights expect."""
        models = _models()
        if name not in models.list_models():
            return None
        default = getattr(models.get_model_weights(name), "DEFAULT", None)
        return _preprocessing(default) if default is not None else None

    def published(self, name: str, weights: str) -> PublishedWeights:
        """A member of the model's weights enumeration, such as `IMAGENET1K_V2`, or the default one."""
        enumeration = _weights_of(name)
        if weights not in enumeration.__members__ and not hasattr(enumeration, weights):
            known = ", ".join(["DEFAULT", *enumeration.__members__])
            raise ModelError(
                f"has no weights {weights!r}", where=f"torchvision/{name}", hint=f"it has {known}"
            )
        return _described(name, getattr(enumeration, weights))

    def names(self, *, published: bool = False) -> Sequence[str]:
        """In alphabetical order."""
        models = _models()
        found: list[str] = models.list_models()
        return [name for name in found if len(models.get_model_weights(name))] if published else found

    def all_weights(self, name: str) -> Sequence[PublishedWeights]:
        """The members of the model's weights enumeration, the default one first."""
        enumeration = _weights_of(name)
        default = getattr(enumeration, "DEFAULT", None)
        return [
            _described(name, member) for member in sorted(enumeration, key=lambda one: one is not default)
        ]


def _weights_of(name: str) -> Any:
    models = _models()
    if name not in models.list_models():
        raise nearest(name, models.list_models(), prefix="torchvision")
    return models.get_model_weights(name)


def _described(name: str, member: Any) -> PublishedWeights:
    labels, how = member.meta.get("categories"), _preprocessing(member)
    mebibytes = member.meta.get("_file_size")  # rounded to three decimals
    return PublishedWeights(
        name=member.name,
        url=member.url,
        preprocessing=how,
        labels=tuple(labels) if labels else None,
        # Their own loaders switch it on: these weights were trained in TensorFlow, normalised by 0.5.
        builder_args={"transform_input": True} if name in _TRANSFORMING else {},
        parameters=member.meta.get("num_params"),
        input_size=(how.channels, *how.size) if how is not None else _crop(member),
        classes=len(labels) if labels else None,
        licence=member.meta.get("license"),
        metrics=member.meta.get("_metrics", {}),
        nbytes=round(mebibytes * 2**20) if mebibytes else None,
        origin=member.meta.get("recipe"),
    )


def _crop(member: Any) -> tuple[int, ...] | None:
    """Of transforms that are not a centre crop of an image, such as those for videos."""
    crop = getattr(member.transforms(), "crop_size", None)
    return (3, crop[0], crop[-1]) if crop else None


def _models() -> Any:
    try:
        from torchvision import models
    except ImportError as error:
        raise MissingDependencyError(
            "torchvision is not installed", hint="pip install 'torchgraft[vision]'"
        ) from error
    return models


def _parameters(builder: Any) -> Mapping[str, Any]:
    import inspect

    return inspect.signature(builder).parameters


def _preprocessing(member: Any) -> Preprocessing | None:
    """Read the settings off torchvision's own transform object."""
    transform = member.transforms()
    crop, resize = getattr(transform, "crop_size", None), getattr(transform, "resize_size", None)
    if not crop or not resize or not hasattr(transform, "mean"):
        return None  # detection and video transforms are not a centre crop
    return Preprocessing(
        size=(crop[0], crop[-1]),
        crop=crop[0] / resize[0],
        interpolation=transform.interpolation.value,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )
