"""`create_model` with class maps, label files, modes, and names that a checkpoint says itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchgraft import create_model, info_of, load, save

NAMES = ["cat", "dog", "wolf", "emu"]
OWN = """
from torch import nn


def build(classes=4):
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, classes))
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    (tmp_path / "classes_net.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    torch.save({"state_dict": model.state_dict(), "classes": NAMES}, tmp_path / "own.pth")
    return tmp_path / "own.pth"


def head(weights):
    return torch.load(weights, weights_only=True)["state_dict"]["3.weight"]


def test_names_that_the_checkpoint_says(weights):
    model = create_model("classes_net:build", weights=weights)
    assert info_of(model).labels == tuple(NAMES)
    model = create_model("classes_net:build", weights=weights, labels=["emu", "cat"])
    assert torch.equal(model[3].weight, head(weights)[[3, 0]])


def test_names_from_files(weights, tmp_path):
    (tmp_path / "old.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "new.json").write_text('["d", "a"]')
    model = create_model(
        "classes_net:build",
        weights=weights,
        source_labels=tmp_path / "old.txt",
        labels=str(tmp_path / "new.json"),
    )
    assert torch.equal(model[3].weight, head(weights)[[3, 0]])


def test_a_class_map_with_modes_comes_back_from_a_file(weights, tmp_path):
    model = create_model(
        "classes_net:build",
        weights=weights,
        in_channels=4,
        in_mode={"R": 0, "G": 1, "B": 2, "NIR": "mean"},
        class_map={"canine": ["dog", "wolf"], "new": None},
        modes={"rows": "mean-cov", "3.bias": "zeros"},
    )
    torch.testing.assert_close(model[3].weight[0], head(weights)[1:3].mean(0))
    assert info_of(model).labels == ("canine", "new")
    save(model, tmp_path / "saved")
    again = load(tmp_path / "saved", builder="classes_net:build")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert info_of(again) == info_of(model)


def test_a_builders_own_argument_keeps_its_name(weights):
    assert create_model("classes_net:build", classes=7)[3].out_features == 7
