"""keras.applications, saved by Keras, into torchvision's and timm's models of the same architecture.

Images have odd sides (2^n + 1) where strides are 2: there TensorFlow's "same" padding is PyTorch's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from timm.models.convnext import ConvNeXt
from torch import nn

from matching_pairs.builders import changed, eps, tm, tv
from matching_pairs.pairs import Build, Pair, Side, State, add, image


class Saved:
    """A Keras model, its random weights, and the file it is saved to."""

    def __init__(self, build: Callable[[], Any], suffix: str, scale: float = 1.0) -> None:
        self.make, self.suffix, self.scale = build, suffix, scale

    def build(self) -> nn.Module:
        keras.utils.clear_session()  # names are counted
        self.model = self.make()
        return self.model

    def side(self) -> Side:
        return Side(self.build, feed=lambda x: (x.permute(0, 2, 3, 1) * self.scale,), fill=self.fill)

    def fill(self, model: Any, inputs: torch.Tensor | None, seed: int) -> None:
        numbers = np.random.default_rng(seed)
        for variable in model.weights:
            shape, word = tuple(variable.shape), variable.path.rsplit("/", 1)[-1]
            if "normalization" in variable.path.split("/")[0] and word in ("mean", "variance"):
                value = np.full(shape, float(word == "variance"))  # of the input: left out
            elif word in ("gamma", "scale") and len(shape) == 1:
                value = numbers.uniform(0.7, 1.3, shape)
            elif len(shape) <= 1:
                value = 0.1 * numbers.normal(size=shape)
            elif "depthwise" in word or (len(shape) == 4 and shape[3] == 1):
                value = numbers.normal(size=shape) / np.sqrt(np.prod(shape[:2]) / 1.6)
            else:
                value = numbers.normal(size=shape) / np.sqrt(np.prod(shape[:-1]) / 1.6)
            if word not in ("count", "seed_generator_state"):
                variable.assign(value.astype("float32"))
        self.calibrate(model, inputs, numbers)

    def calibrate(self, model: Any, inputs: torch.Tensor | None, numbers: np.random.Generator) -> None:
        norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        for layer in norms:
            layer.call = self.observing(layer, layer.call, numbers)
        with torch.no_grad():
            model(inputs.permute(0, 2, 3, 1) * self.scale)  # type: ignore[union-attr]
        for layer in norms:
            del layer.call

    @staticmethod
    def observing(layer: Any, plain: Callable[..., Any], numbers: np.random.Generator) -> Callable[..., Any]:
        def call(x: torch.Tensor, *arguments: Any, **more: Any) -> Any:
            mean, spread = x.mean((0, 1, 2)), x.var((0, 1, 2), correction=0) + 5e-2
            jitter = torch.from_numpy(numbers.uniform(-0.2, 0.2, (2, len(mean))).astype("float32"))
            layer.moving_mean.assign(mean + jitter[0] * spread.sqrt())
            layer.moving_variance.assign(spread * (1 + jitter[1]))
            return plain(x, *arguments, **more)

        return call

    def held(self, _: State) -> str:
        path = Path(tempfile.mkdtemp()) / f"model{self.suffix}"
        if self.suffix == ".weights.h5":
            self.model.save_weights(path)
        else:
            self.model.save(path)
        return str(path)


def in_order(source: Any, target: nn.Module, inputs: torch.Tensor) -> None:
    """Layer for layer: Keras lists them in the graph's order, hooks tell in which the target runs."""
    ran: list[nn.Module] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, _: ran.append(module))
        for module in target.modules()
        if next(module.parameters(recurse=False), None) is not None and module is not target
    ]
    with torch.no_grad():
        target.eval()(inputs)
    for hook in hooks:
        hook.remove()
    groups: list[list[torch.Tensor]] = []
    for layer in layers_of(source):
        weights = [(v.path, as_pytorch(v.path, v.value.detach())) for v in layer.weights]
        if "normalization" in layer.name and layer.name.startswith("normalization"):
            continue
        if isinstance(layer, keras.layers.SeparableConv2D):
            groups += [[value] for _, value in weights]
        elif weights:
            groups.append([value for _, value in weights])
    for module in dict.fromkeys(ran):
        places = [tensor for name, tensor in module.state_dict().items() if not name.endswith("tracked")]
        if hasattr(module, "gamma") and len(places) > 1:  # a block with LayerScale: its own tensor alone
            places = [module.gamma.detach()]
        fitting = next(g for g in groups if [t.numel() for t in g] == [t.numel() for t in places])
        groups.remove(fitting)
        for place, value in zip(places, fitting, strict=True):
            place.copy_(value.reshape(place.shape))


def layers_of(model: Any) -> list[Any]:
    """Those that hold weights themselves."""
    found = []
    for layer in model.layers:
        found += layers_of(layer) if hasattr(layer, "layers") else [layer]
    return found


def as_pytorch(path: str, value: torch.Tensor) -> torch.Tensor:
    if value.ndim == 4:
        depthwise = "depthwise" in path.rsplit("/", 1)[-1] or value.shape[3] == 1
        return value.permute(2, 3, 0, 1) if depthwise else value.permute(3, 2, 0, 1)
    return value.t() if value.ndim == 2 else value


def pair(
    subject: str, build: Callable[[], Any], target: Build, name: str, inputs: Any, suffixes: str, **more: Any
) -> None:
    scale = more.pop("scale", 1.0)
    for suffix in suffixes.split():
        saved = Saved(build, suffix, scale)
        add(
            Pair(
                f"keras:{subject}{suffix}>{name}",
                "keras files",
                saved.side(),
                Side(target),
                inputs,
                held=saved.held,
                oracle=in_order,
                **more,
            )
        )


def applied(name: str, size: int, **arguments: Any) -> Callable[[], Any]:
    arguments = {"classes": 10, "classifier_activation": None, **arguments}
    return lambda: getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), **arguments)


FORMATS = ".h5 .weights.h5 .keras"
pair(
    "mobilenet_v2",
    applied("MobileNetV2", 65),
    changed(tv("mobilenet_v2", num_classes=10), eps(1e-3)),
    "tv",
    image(65),
    FORMATS,
    note="eps 1e-3",
)
pair(
    "mobilenet_v2",
    applied("MobileNetV2", 65),
    changed(tm("mobilenetv2_100", num_classes=10), eps(1e-3)),
    "timm",
    image(65),
    ".h5 .weights.h5",
    note="eps 1e-3",
)
pair(
    "densenet121",
    applied("DenseNet121", 64),
    changed(tv("densenet121", num_classes=10), eps(1.001e-5)),
    "tv",
    image(64),
    ".h5 .weights.h5",
    note="eps 1.001e-5",
)
pair(
    "densenet121",
    applied("DenseNet121", 64),
    changed(tm("densenet121", num_classes=10), eps(1.001e-5)),
    "timm",
    image(64),
    ".keras",
    note="eps 1.001e-5",
)
pair(
    "xception",
    applied("Xception", 71),
    changed(tm("legacy_xception", num_classes=10), eps(1e-3)),
    "timm",
    image(71),
    ".h5 .weights.h5",
    note="eps 1e-3",
)
pair(
    "efficientnet_b0",
    applied("EfficientNetB0", 64),
    tm("tf_efficientnet_b0", num_classes=10),
    "timm",
    image(64, count=4),
    FORMATS,
    scale=255.0,
    note="Keras divides by 255; its normalisation layer is the identity",
)


def small_convnext() -> Any:
    return keras.src.applications.convnext.ConvNeXt(
        depths=[1, 1, 2, 1],
        projection_dims=[16, 32, 48, 64],
        include_preprocessing=False,
        weights=None,
        input_shape=(64, 64, 3),
        classes=10,
        classifier_activation=None,
        name="convnext_small_one",
    )


pair(
    "convnext",
    small_convnext,
    lambda: ConvNeXt(depths=(1, 1, 2, 1), dims=(16, 32, 48, 64), num_classes=10, ls_init_value=1e-6),
    "timm",
    image(64),
    ".h5 .weights.h5",
)
pair(
    "vgg16-features",
    applied("VGG16", 64, include_top=False, pooling="avg"),
    lambda: nn.Sequential(tv("vgg16")().features, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "tv",
    image(64),
    ".h5 .weights.h5",
)
