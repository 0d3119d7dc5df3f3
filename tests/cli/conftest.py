"""A model of the user's own, its checkpoint under other names, and photos: small enough for every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from torchgraft.cli import commands

TINY = """
import torch
from torch import nn

def build(classes: int = 10) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes),
    )
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `tiny_net.py` and `tiny.pth`, whose names have the prefix of data parallelism."""
    import sys

    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "tiny_net", raising=False)
    (tmp_path / "tiny_net.py").write_text(TINY)
    import tiny_net

    torch.manual_seed(1)
    model = tiny_net.build()
    torch.save(
        {f"module.{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path / "tiny.pth"
    )
    return tmp_path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of each of two classes, which a glance tells apart."""
    generator = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for i in range(12):
            pixels = generator.normal(level, 12, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in this process, 100 columns wide, without colour."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("TORCHGRAFT_DEBUG", raising=False)
    return lambda *arguments: CliRunner().invoke(commands, [str(argument) for argument in arguments])
