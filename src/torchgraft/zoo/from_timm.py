"""timm's models and their published weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

from torch import nn

from torchgraft.errors import MissingDependencyError, ModelError
from torchgraft.model_info import Preprocessing
from torchgraft.zoo.published_weights import PublishedWeights
from torchgraft.zoo.sources import nearest

__all__ = ["TimmSource"]


class TimmSource:
    """timm's registry. Names may carry a tag, as in `resnet18.a1_in1k`."""

    def build(self, name: str, arguments: Mapping[str, Any]) -> nn.Module:
        """The model, randomly initialised; nothing is downloaded."""
        timm = _timm()
        if not timm.is_model(name.partition(".")[0]):
            raise nearest(name, timm.list_models(), prefix="timm")
        try:
            return cast(nn.Module, timm.create_model(name, pretrained=False, **arguments))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"can't be built: {error}", where=f"timm/{name}") from error

    def preprocessing(self, name: str) -> Preprocessing | None:
        """What the default weights expect."""
        timm = _timm()
        if not timm.is_model(name.partition(".")[0]):
            return None
        config = _config(timm, name)
        return _preprocessing(config) if config is not None else None

    def published(self, name: str, weights: str) -> PublishedWeights:
        """The weights of a tag of this model, such as `a1_in1k`, or the default ones."""
        timm = _timm()
        architecture, _, tag = name.partition(".")
        if not timm.is_model(architecture):
            raise nearest(name, timm.list_models(), prefix="timm")
        wanted = name if weights == "DEFAULT" else f"{architecture}.{weights}"
        if weights != "DEFAULT" and wanted not in _tagged(timm, architecture):
            raise _no_weights(timm, name, weights)
        config = _config(timm, wanted)
        if config is None or not config.has_weights:
            raise _no_weights(timm, name, tag or weights)
        return _described(config)

    def names(self, *, published: bool = False) -> Sequence[str]:
        """Architectures, in timm's order: numbers in names count as numbers."""
        timm = _timm()
        found: list[str] = timm.list_models()
        if not published:
            return found
        tagged = {full.partition(".")[0] for full in timm.list_pretrained()}
        return [name for name in found if name in tagged]

    def all_weights(self, name: str) -> Sequence[PublishedWeights]:
        """Those of each tag, the default one first; of a name with a tag, that one alone."""
        timm = _timm()
        architecture, _, tag = name.partition(".")
        if not timm.is_model(architecture):
            raise nearest(name, timm.list_models(), prefix="timm")
        if tag:
            return [self.published(name, "DEFAULT")]
        configs = [_config(timm, full) for full in _tagged(timm, architecture)]
        default = _config(timm, architecture)
        first = default.tag if default is not None else None
        return [_described(config) for config in sorted(configs, key=lambda one: one.tag != first)]


def _described(config: Any) -> PublishedWeights:
    """What timm ships about them: it has no accuracies and no sizes of files."""
    hub = (config.hf_hub_id, config.hf_hub_filename or "model.safetensors") if config.hf_hub_id else None
    return PublishedWeights(
        name=config.tag or "DEFAULT",
        url=config.url or None,
        hub=hub,
        preprocessing=_preprocessing(config),
        labels=_labels(config),
        input_size=tuple(config.input_size),
        classes=config.num_classes,
        licence=config.license,
        origin=config.origin_url,
    )


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            "timm is not installed", hint="pip install 'torchgraft[vision]'"
        ) from error
    return timm


def _config(timm: Any, name: str) -> Any:
    """What timm knows about the weights of this name."""
    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError as error:  # an unknown tag
        raise _no_weights(timm, name, name.partition(".")[2]) from error


def _no_weights(timm: Any, name: str, weights: str) -> ModelError:
    tagged = _tagged(timm, name.partition(".")[0])
    tags = [full.partition(".")[2] for full in tagged]
    hint = f"it has {', '.join(['DEFAULT', *filter(None, tags)])}" if tagged else "it has none"
    return ModelError(f"has no published weights {weights!r}", where=f"timm/{name}", hint=hint)


def _tagged(timm: Any, architecture: str) -> list[str]:
    """The full names of an architecture's published weights."""
    found = [*timm.list_pretrained(f"{architecture}.*"), *timm.list_pretrained(architecture)]
    return list(dict.fromkeys(found))


def _preprocessing(config: Any) -> Preprocessing:
    _, height, width = config.input_size
    return Preprocessing(
        size=(height, width),
        crop=float(config.crop_pct),
        interpolation=config.interpolation if config.interpolation in ("bilinear", "nearest") else "bicubic",
        mean=tuple(config.mean),
        std=tuple(config.std),
        squash=config.crop_mode == "squash",
    )


def _labels(config: Any) -> tuple[str, ...] | None:
    """Class names where the weights say them, or where their number is that of a list of ImageNet's."""
    if config.label_names:
        names = config.label_descriptions or {}
        return tuple(str(names.get(name, name)) for name in config.label_names)
    from timm.data.imagenet_info import infer_imagenet_subset

    subset = infer_imagenet_subset(config)
    if not subset or config.label_offset:
        return None
    return _imagenet_names(subset)


@cache
def _imagenet_names(subset: str) -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in info.label_indices())
