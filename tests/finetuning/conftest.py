"""Tiny models and generated photos: two classes that brightness tells apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

SMALL = Preprocessing(size=(16, 16), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


class Tiny(nn.Module):
    """A convolution, batch norm, pooling and a linear head."""

    def __init__(self, classes: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=2)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        return self.head(x.mean(dim=(2, 3)))


@pytest.fixture
def tiny() -> Callable[..., nn.Module]:
    """Builds `Tiny` with `SMALL` preprocessing, always with the same numbers."""

    def build(classes: int = 2, channels: int = 3, labels: tuple[str, ...] | None = None) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Tiny(classes, channels).eval()
        attach_info(model, ModelInfo(labels=labels, preprocessing=SMALL.with_channels(channels)))
        return model

    return build


def photo(bright: bool, index: int, size: int = 20) -> np.ndarray:
    """Noise around a dark or a bright grey, uint8 (height, width, 3)."""
    noise = np.random.default_rng(index).integers(0, 90, (size, size + 4, 3))
    return (noise + (140 if bright else 20)).astype(np.uint8)


@pytest.fixture
def memory() -> tuple[list[np.ndarray], list[str]]:
    """64 photos, every third of them bright."""
    bright = [index % 3 == 0 for index in range(64)]
    labels = ["bright" if b else "dark" for b in bright]
    return [photo(b, i) for i, b in enumerate(bright)], labels


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes `{class path: number of photos}` under a folder."""

    def make(counts: dict[str, int], name: str = "photos") -> Path:
        root = tmp_path / name
        root.mkdir()
        for kind, count in counts.items():
            folder = root / kind
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                Image.fromarray(photo("bright" in kind, index)).save(folder / f"{index:02}.png")
        return root

    return make
