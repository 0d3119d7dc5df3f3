"""A module of the user's own, importable by name, and a way to tell that two models are the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, classes=10):
        super().__init__()
        self.fc = nn.Linear(width, classes)
        self.conv = nn.Conv2d(3, width, 3)
        self.bn = nn.BatchNorm2d(width)
        self.register_buffer("table", torch.rand(1) + 1, persistent=False)
        self.scale = torch.full((1,), 3.0)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        return self.fc(x.mean((2, 3))) * self.scale + 0 * self.table

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))

def wide():
    return Net(8)

def broken():
    raise ZeroDivisionError("mine")

def three():
    return 3

number = 5
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`own_net` can be imported; downloads and caches stay in the test's folder."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_net.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def differing() -> Callable[[nn.Module, nn.Module], list[str]]:
    """Names of state dict entries and buffers, saved or not, that are not bit for bit the same in both."""

    def differ(one: nn.Module, other: nn.Module) -> list[str]:
        a = {**dict(one.named_buffers()), **one.state_dict()}
        b = {**dict(other.named_buffers()), **other.state_dict()}
        assert list(one.state_dict()) == list(other.state_dict())
        assert a.keys() == b.keys()
        return [
            key
            for key, tensor in a.items()
            if (tensor.shape, tensor.dtype) != (b[key].shape, b[key].dtype) or not torch.equal(tensor, b[key])
        ]

    return differ
