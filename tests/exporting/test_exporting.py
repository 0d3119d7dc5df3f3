"""What `export` itself decides and refuses."""

from __future__ import annotations

import pytest
from torch import nn

import torchgraft as tg
from torchgraft.exporting import FORMATS

REFUSED = [
    ("m.onx", {}, "neither the name nor Small says which format"),
    ("folder", {}, "neither the name nor Small says which format"),
    ("m.pth", {"format": "tflite"}, "no format 'tflite'"),
    ("m.pth", {"tolerance": -1.0}, "must not be negative"),
    ("m.pth", {"tolerance": float("nan")}, "must not be negative"),
    ("m.onnx", {"hash_name": True}, "hash_name is for a state dict"),
    ("m.pth", {"format": "timm"}, "was not built by timm"),
    ("README.txt", {"format": "card"}, "a model card is a .md file"),
    ("README.md", {"run": "absent"}, "can't be read as a run's"),
    ("README.md", {"card": {"license": object()}}, "the card's 'license' can't be object"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED)
def test_refused_with_nothing_written(name, arguments, message, small, tmp_path):
    with pytest.raises(tg.SaveError, match=message):
        tg.export(small, tmp_path / name, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_a_model_without_values_is_refused(kind, tmp_path):
    with pytest.raises(tg.SaveError, match="meta device"):
        tg.export(nn.Conv2d(3, 4, 1, device="meta"), tmp_path / "m", format=kind)


def test_printed_and_as_json(small, tmp_path):
    exported = tg.export(small, tmp_path / "m.pth")
    assert str(exported).splitlines()[0] == f"{tmp_path / 'm.pth'}: torchvision"
    assert exported.to_json() == {
        "path": str(tmp_path / "m.pth"),
        "format": "torchvision",
        "checked": exported.checked,
        "difference": None,
        "notes": [],
    }
