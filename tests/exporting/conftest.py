"""Small models of each library, seeded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import torchgraft as tg


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Small(nn.Module):
    """A classifier of nobody's library."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


@pytest.fixture
def small() -> nn.Module:
    model = Small().eval()
    tg.describe(model, labels=list("abcde"), preprocessing=tg.Preprocessing(size=(32, 32)))
    return model


@pytest.fixture
def vit() -> Callable[..., nn.Module]:
    """A tiny ViT of transformers."""
    transformers = pytest.importorskip("transformers")

    def build(**config: object) -> nn.Module:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        sizes |= {"image_size": 32, "patch_size": 8, "num_labels": 3}
        return transformers.ViTForImageClassification(transformers.ViTConfig(**{**sizes, **config})).eval()

    return build
