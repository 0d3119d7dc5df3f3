"""How models of each library are made, without weights and without the network."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import timm
import torch
import torchvision
import transformers
from pytorchcv.model_provider import get_model
from torch import nn

from matching_pairs.pairs import Build, Side

Change = Callable[[nn.Module], object]


def tv(name: str, **arguments: Any) -> Build:
    return lambda: getattr(torchvision.models, name)(weights=None, **arguments)


def tm(name: str, **arguments: Any) -> Build:
    return lambda: timm.create_model(name, pretrained=False, **arguments)


def pcv(name: str, **arguments: Any) -> Build:
    """A pytorchcv model; its last pooling, made for one image size, takes any."""

    def built() -> nn.Module:
        model = get_model(name, pretrained=False, **arguments)
        for module in model.modules():
            if isinstance(getattr(module, "final_pool", None), nn.AvgPool2d):
                module.final_pool = nn.AdaptiveAvgPool2d(1)
        return model

    return built


def cadene(name: str, **arguments: Any) -> Build:
    """A model of `pretrainedmodels`; it pools whatever size comes."""

    def built() -> nn.Module:
        import pretrainedmodels

        model = deepcopy(
            getattr(pretrainedmodels, name)(pretrained=None, **arguments)
        )  # some share their layers
        for key in ("avg_pool", "avgpool", "last_avgpool", "avgpool_1a"):
            if isinstance(getattr(model, key, None), nn.AvgPool2d):
                setattr(model, key, nn.AdaptiveAvgPool2d(1))
        return model

    return built


def hf(model: str, config: str, **arguments: Any) -> Build:
    return lambda: getattr(transformers, model)(getattr(transformers, config)(**arguments))


def changed(build: Build, *changes: Change) -> Build:
    """A model with something set equal to the other implementation."""

    def built() -> nn.Module:
        model = build()
        for change in changes:
            change(model)
        return model

    return built


def eps(value: float) -> Change:
    def change(model: nn.Module) -> None:
        for module in model.modules():
            for name in ("eps", "variance_epsilon"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, value)

    return change


def replaced(path: str, make: Callable[[], nn.Module]) -> Change:
    """Another module at `path`."""

    def change(model: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, make())

    return change


def zero(*paths: str) -> Callable[[nn.Module], None]:
    """These tensors are zero in the source: the other implementation has no place for them."""

    @torch.no_grad()
    def settle(model: nn.Module) -> None:
        state = model.state_dict()
        for path in paths:
            state[path].zero_()

    return settle


def pixels(build: Build, **arguments: Any) -> Side:
    return Side(build, feed=lambda x: {"pixel_values": x}, **arguments)


def ids(build: Build, *, positions: bool = False, **arguments: Any) -> Side:
    def feed(x: torch.Tensor) -> dict[str, Any]:
        extra = {"position_ids": torch.arange(x.shape[1])[None]} if positions else {}
        return {"input_ids": x, **extra}

    return Side(build, feed=feed, **arguments)


def embedded(build: Build, **arguments: Any) -> Side:
    """A stack of layers, run on vectors."""
    return Side(build, feed=lambda x: (x,), **arguments)
