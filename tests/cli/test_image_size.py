"""`--image-size` of `adapt`."""

from __future__ import annotations

import json

import pytest

import torchgraft as tg

VIT = """
import torch
from torch import nn

class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 8, stride=8)
        self.where = nn.Parameter(torch.randn(1, 16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, image):
        return self.head((self.cut(image).flatten(2).transpose(1, 2) + self.where).mean(1))
"""


@pytest.fixture
def patches(place, monkeypatch):
    """A folder with a small transformer's first layers; it takes images of 32 pixels."""
    import sys

    monkeypatch.delitem(sys.modules, "patches_net", raising=False)
    (place / "patches_net.py").write_text(VIT)


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), ("48x64", (48, 64))])
def test_adapt(patches, call, place, text, size):
    result = call(
        "adapt", "patches_net:Patches", "--weights", "none", "--image-size", text, "-o", "out", "--json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["surgery"] == [{"image_size": list(size)}]
    model = tg.load(place / "out", builder="patches_net:Patches")
    assert model.where.shape == (1, size[0] * size[1] // 64, 8)


@pytest.mark.parametrize("text", ["0", "big", "1x2x3", "x", "-3"])
def test_no_size(patches, call, text):
    result = call("adapt", "patches_net:Patches", "--weights", "none", f"--image-size={text}", "-o", "out")
    assert result.exit_code == 2
    assert "is no size; such as 160 or 160x192" in result.output
