"""timm's hub layout, read back by timm itself."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import torchgraft as tg

timm = pytest.importorskip("timm")

MODELS = [
    ("resnet10t", {}),
    ("resnet10t", {"in_channels": 4, "num_classes": 21}),
    ("resnet10t", {"in_channels": 1, "num_classes": 2, "image_size": 96}),
    ("vit_tiny_patch16_224", {"in_channels": 4, "num_classes": 21, "image_size": (64, 96)}),
    ("vit_tiny_patch16_224", {"img_size": 64, "num_classes": 3}),
    ("mobilenetv3_small_050", {"in_channels": 5, "labels": ["cat", "dog"]}),
    ("convnext_atto", {"num_classes": 0}),
    ("test_vit", {"in_channels": 2, "num_classes": 4}),
]


@pytest.mark.parametrize(("name", "arguments"), MODELS, ids=lambda value: str(value))
def test_timm_builds_the_same_model(name, arguments, tmp_path):
    if arguments.get("num_classes") == 0:
        model = tg.create_model(f"timm/{name}", num_classes=None).eval()
        model.reset_classifier(0)
    else:
        model = tg.create_model(f"timm/{name}", **arguments)
    exported = tg.export(model, tmp_path / "out")
    assert (exported.format, exported.difference) == ("timm", 0.0)
    again = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.rand(2, *timm.data.resolve_model_data_config(again)["input_size"])
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


def test_what_the_config_says(tmp_path):
    model = tg.create_model("timm/vit_tiny_patch16_224", in_channels=4, labels=["x", "y"], image_size=64)
    how = tg.Preprocessing(size=(64, 64), crop=0.8, interpolation="bilinear", mean=(0.1,) * 4, std=(0.2,) * 4)
    tg.describe(model, preprocessing=how)
    tg.export(model, tmp_path / "out")
    again = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    data = timm.data.resolve_model_data_config(again)
    assert data["input_size"] == (4, 64, 64)
    assert (data["crop_pct"], data["interpolation"]) == (0.8, "bilinear")
    assert (data["mean"], data["std"]) == ([0.1] * 4, [0.2] * 4)
    assert list(again.pretrained_cfg["label_names"]) == ["x", "y"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architecture"] == "vit_tiny_patch16_224"
    assert (config["num_classes"], config["num_features"]) == (2, 192)
    assert config["model_args"] == {"in_chans": 4, "img_size": [64, 64]}
    for gone in ("url", "hf_hub_id", "license", "tag"):  # of weights that are not these
        assert gone not in config["pretrained_cfg"]


def test_torchgraft_loads_the_folder_too(tmp_path):
    model = tg.create_model("timm/resnet10t", in_channels=4, num_classes=21)
    tg.export(model, tmp_path / "out")
    again = tg.load(tmp_path / "out")
    images = torch.rand(1, 4, 64, 64)
    assert torch.equal(again(images), model(images))


def test_half_precision_stays(tmp_path):
    model = tg.create_model("timm/resnet10t", num_classes=2, dtype=torch.bfloat16)
    tg.export(model, tmp_path / "out")
    assert {ref.dtype for ref in tg.open(tmp_path / "out" / "model.safetensors").values()} == {
        "bfloat16",
        "int64",
    }


def test_a_model_that_timm_did_not_build_is_refused(small, tmp_path):
    with pytest.raises(tg.SaveError, match="was not built by timm"):
        tg.export(small, tmp_path / "out", format="timm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["another layer", "another width"])
def test_what_timm_cannot_rebuild_is_refused_and_the_old_folder_stays(how, tmp_path):
    model = tg.create_model("timm/resnet10t", num_classes=2)
    tg.export(model, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    if how == "another layer":
        model.layer4.extra = nn.Conv2d(3, 3, 1)
    else:
        model.fc = nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 2))
    with pytest.raises(tg.SaveError, match="timm"):
        tg.export(model, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_activation_that_timm_would_not_build_is_found_by_the_outputs(tmp_path):
    model = tg.create_model("timm/resnet10t", num_classes=2)
    model.act1 = model.layer1[0].act2 = nn.GELU()  # no tensor of it differs
    with pytest.raises(tg.SaveError, match="outputs of the model that timm built differ"):
        tg.export(model, tmp_path / "out")


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(tg.SaveError, match=r"thesis\.tex"):
        tg.export(tg.create_model("timm/resnet10t", num_classes=2), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_paths_of_this_machine_are_not_told(tmp_path):
    model = tg.create_model("timm/resnet10t", num_classes=2)
    (tmp_path / "secret place").mkdir()
    torch.save(model.state_dict(), tmp_path / "secret place" / "w.pth")
    filled = tg.create_model("timm/resnet10t", weights=tmp_path / "secret place" / "w.pth")
    before = tg.info_of(filled)
    tg.export(filled, tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert b"secret" not in file.read_bytes(), file.name
    assert tg.info_of(filled) == before
    assert "w.pth" in (tmp_path / "out" / "README.md").read_text()
