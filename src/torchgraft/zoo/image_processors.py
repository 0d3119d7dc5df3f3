"""What transformers' image processors do, read off `preprocessor_config.json`, as `Preprocessing`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

from torchgraft.model_info import Preprocessing
from torchgraft.zoo.transformers_config import transformers_package

__all__ = ["KNOWN", "preprocessing_in"]

_log = logging.getLogger(__name__)

KNOWN = (
    "Beit", "Bit", "Blip", "ChineseCLIP", "CLIP", "ConvNext", "DeiT", "EfficientNet", "Flava", "Levit",
    "MobileNetV1", "MobileNetV2", "PoolFormer", "Pvt", "Segformer", "Siglip", "ViT",
)  # fmt: skip
"""Processors that resize, crop and normalise and nothing else. Others pad, tile or align, each in code of its
own that a file does not tell: to read those likewise would feed the model something it has never seen."""

_FIELDS = (
    "do_resize", "size", "crop_pct", "resample", "do_center_crop", "crop_size", "do_rescale",
    "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std", "include_top",
)  # fmt: skip
_FILTERS: dict[object, Literal["nearest", "bilinear", "bicubic"]] = {
    0: "nearest",
    2: "bilinear",
    3: "bicubic",
}
_WARPED_FROM = 384  # from this side on, ConvNeXt's processor does not crop
_LEVIT = 224 / 256  # LeViT's processor resizes to more than its file says, by this


def preprocessing_in(
    config: Mapping[str, Any], *, model_type: object = None, where: str
) -> Preprocessing | None:
    """The same steps as one `Preprocessing`; `None`, with a note, where they can't be said so.

    Where the number of pixels to be cut off is odd, transformers' crop lies one pixel beside ours, which is
    torchvision's and timm's.

    Args:
        config: What the file holds. What it leaves out is the processor's own usual value.
        model_type: The model's, for files that don't name their processor.
        where: The model's name, for the note.
    """
    kind = _kind(config, model_type)
    if kind not in KNOWN:
        what = f"its image processor, {kind}, does more than resizing and cropping" if kind else "unknown"
        _log.warning("%s: how it prepares images is not taken over: %s", where, what)
        return None
    try:
        return _read(_values(config, kind), kind, where)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        _log.warning("%s: how it prepares images is not understood: %s", where, error)
        return None


def _kind(config: Mapping[str, Any], model_type: object) -> str:
    """`ViT` for ViTImageProcessor, ViTImageProcessorFast and ViTFeatureExtractor."""
    named = config.get("image_processor_type") or config.get("feature_extractor_type")
    if named is None:
        known = import_module("transformers.models.auto.image_processing_auto").IMAGE_PROCESSOR_MAPPING_NAMES
        usual: Any = dict(known).get(str(model_type), "")
        parts = usual.values() if isinstance(usual, Mapping) else [usual] if isinstance(usual, str) else usual
        named = next((part for part in parts if part), "")
    text = str(named).replace("FeatureExtractor", "ImageProcessor")
    return text.partition("ImageProcessor")[0]


def _values(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The processor's own values with those of the file put in."""
    transformers = transformers_package()
    given = {key: config[key] for key in _FIELDS if config.get(key) is not None}
    for name in (f"{kind}ImageProcessorPil", f"{kind}ImageProcessor"):
        try:
            processor = getattr(transformers, name).from_dict(dict(given))
        except (ImportError, AttributeError):  # absent in this version, or what it needs is not installed
            continue
        found = {key: getattr(processor, key, None) for key in _FIELDS}
        return {key: _plain(value) for key, value in found.items() if value is not None}
    return given


def _plain(value: object) -> object:
    """A `SizeDict` as a table of what is set in it."""
    if hasattr(value, "height") and hasattr(value, "shortest_edge"):
        fields = ("height", "width", "shortest_edge")
        return {key: getattr(value, key) for key in fields if getattr(value, key) is not None}
    return value


def _read(values: Mapping[str, Any], kind: str, where: str) -> Preprocessing:
    size, squash, crop = _geometry(values, kind)
    interpolation = _FILTERS.get(values.get("resample", 2))
    if interpolation is None:
        interpolation = "bicubic"
        _log.warning("%s resizes by a filter that is not used here; bicubic comes nearest", where)
    mean, std = _normalisation(values)
    made = Preprocessing(size=size, crop=crop, interpolation=interpolation, mean=mean, std=std, squash=squash)
    return Preprocessing.from_json(made.to_json())  # the same checks as for any file


def _normalisation(values: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation for an image in 0…1; theirs is scaled by a factor, and may be shifted."""
    factor, shift = 255.0, 0.0
    if values.get("do_rescale", True):
        factor *= float(values.get("rescale_factor", 1 / 255))
        shift = -1.0 if values.get("rescale_offset") else 0.0
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if values.get("do_normalize", True):
        mean, std = _per_channel(values["image_mean"]), _per_channel(values["image_std"])
        if values.get("include_top"):  # EfficientNet's divides once more
            std = tuple(one * one for one in std)
    if abs(factor - 1) < 1e-9 and not shift:
        return mean, std
    return tuple((one - shift) / factor for one in mean), tuple(one / factor for one in std)


def _geometry(values: Mapping[str, Any], kind: str) -> tuple[tuple[int, int], bool, float]:
    """Height and width, whether proportions are lost, and what the crop keeps."""
    resized = _sides(values["size"]) if values.get("do_resize", True) else None
    cut = _sides(values["crop_size"])[0] if values.get("do_center_crop") else None
    if resized is None:
        if cut is None:
            raise ValueError("it neither resizes nor crops")
        raise ValueError("it crops without resizing")
    side, keeps = resized
    if kind == "ConvNext":
        warped = side[0] >= _WARPED_FROM
        return side, warped, 1.0 if warped else float(values["crop_pct"])
    kept = 1.0
    if kind == "PoolFormer" and values.get("crop_pct"):
        kept = float(values["crop_pct"])
    elif kind == "Levit" and keeps:
        kept = _LEVIT
    if cut is not None:
        if cut[0] * side[1] != cut[1] * side[0]:
            raise ValueError("it crops to another shape than it resizes to")
        return cut, not keeps, cut[0] / side[0] * kept
    if keeps:
        raise ValueError("images keep their different shapes")
    return side, True, 1.0


def _sides(size: object) -> tuple[tuple[int, int], bool]:
    """Height and width, and whether it is the shorter side alone that is brought to this size."""
    if isinstance(size, int):
        return (size, size), False
    if isinstance(size, Mapping):
        if "height" in size:
            return (int(size["height"]), int(size["width"])), False
        return (int(size["shortest_edge"]),) * 2, True
    raise ValueError(f"size {size!r}")


def _per_channel(value: object) -> tuple[float, ...]:
    if isinstance(value, Sequence):
        return tuple(float(one) for one in value)
    return (float(str(value)),) * 3
