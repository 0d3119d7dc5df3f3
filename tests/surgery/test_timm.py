"""Every timm architecture gets 4 channels and 21 classes, and is as timm builds it with these sizes itself."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import timm
import torch
from torch import nn

from surgery.trying import CHANNELS, CLASSES, Tried, built_on, try_model

SMALL = (
    "resnet10t", "test_vit", "test_efficientnet", "test_nfnet", "deit_tiny_distilled_patch16_224",
    "levit_128s", "mixer_s32_224", "test_convnext", "test_mambaout", "tiny_vit_5m_224", "gernet_s", "tresnet_m",
)  # fmt: skip

EXCEPTIONS: dict[str, str] = {}
"""Architectures that can't be adapted so, and why not. One that passes fails the test."""


@pytest.mark.parametrize("name", SMALL)
def test_small_ones(name):
    _judge(name, try_timm(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", timm.list_models())
def test_every_architecture(name):
    _judge(name, try_timm(name))


def try_timm(name: str, device: str = "meta") -> Tried:
    def build() -> nn.Module:
        return timm.create_model(name)

    def feed(model: nn.Module) -> torch.Tensor:
        _, height, width = model.pretrained_cfg["input_size"]
        return torch.rand(2, CHANNELS, height, width, device=device)

    def oracle(model: nn.Module) -> str | None:
        return differs_from_timms_own(name, model)

    return try_model(build, feed, device=device, oracle=oracle)


def differs_from_timms_own(name: str, model: nn.Module) -> str | None:
    """Where the adapted model's shapes or plain attributes are not those of timm's own for these sizes."""
    try:
        own = built_on("meta", lambda: timm.create_model(name, in_chans=CHANNELS, num_classes=CLASSES))
    except Exception as error:  # whatever timm raises, it has no such model
        warnings.warn(f"timm can't: {error}", stacklevel=2)
        return None
    shapes = {key: tensor.shape for key, tensor in own.state_dict().items()}
    ours = {key: tensor.shape for key, tensor in model.state_dict().items()}
    if shapes != ours:
        return f"timm builds {dict(shapes.items() - ours.items())}, not {dict(ours.items() - shapes.items())}"
    for (path, module), other in zip(model.named_modules(), own.modules(), strict=True):
        mine, theirs = _plain(module), _plain(other)
        if mine != theirs:
            return f"{path}: timm has {dict(theirs.items() - mine.items())}, not {dict(mine.items() - theirs.items())}"
    return None


def _plain(module: nn.Module) -> dict[str, Any]:
    """The attributes that are numbers, texts or tuples of them."""
    return {key: repr(value) for key, value in vars(module).items() if _is_plain(value) and key != "training"}


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (int, float, str)) or value is None


def _judge(name: str, tried: Tried) -> None:
    if name in EXCEPTIONS:
        assert not tried.passed, f"it passes now; it was listed because {EXCEPTIONS[name]}"
        pytest.xfail(EXCEPTIONS[name])
    assert tried.passed, f"{tried.stage}: {tried.reason}"
