"""`save` then `load`: the same model, whatever was done to it, without trusting the file."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft import CheckpointError, CoverageError, MatchError, ModelError, info_of, load, save
from torchgraft.model_info import attach_info

MODELS = [
    ("torchvision/squeezenet1_1", {"dropout": 0.2}),
    ("torchvision/googlenet", {}),
    ("timm/resnet10t", {"stem_width": 16}),
    ("timm/swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": [1, 1], "num_heads": [1, 2]}),
]


def outputs(model: nn.Module, channels: int = 3, size: int = 224) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("place", ["folder", "model.safetensors"])
@pytest.mark.parametrize(("name", "arguments"), MODELS, ids=[name for name, _ in MODELS])
def test_bit_for_bit(name, arguments, place, tmp_path, differing):
    model = tg.create_model(name, **arguments)
    back = load(save(model, tmp_path / place))
    assert differing(back, model) == []
    assert torch.equal(outputs(back), outputs(model))
    assert (info_of(back), str(back)) == (info_of(model), str(model))


@pytest.mark.parametrize(("name", "arguments"), MODELS[::2], ids=[name for name, _ in MODELS[::2]])
def test_adapted_twice_and_saved_twice(name, arguments, tmp_path, differing):
    model = tg.create_model(
        name, in_channels=4, labels=["a", "b", "c"], in_mode=[0, 1, 2, "mean"], **arguments
    )
    tg.adapt(model, labels=["b", "d"])
    back = load(save(load(save(model, tmp_path / "one")), tmp_path / "two"))
    assert differing(back, model) == []
    assert torch.equal(outputs(back, 4), outputs(model, 4))
    assert info_of(back) == info_of(model)
    assert info_of(back).labels == ("b", "d")
    assert len(info_of(back).surgery) == 2


def test_a_fine_tuned_head_with_its_labels(tmp_path, differing):
    photos = list(np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8))
    labels = ["cat", "dog"] * 8
    model = tg.create_model("timm/resnet10t", preprocessing=tg.Preprocessing(size=(32, 32), crop=1.0))
    tuned = tg.finetune(model, (photos, labels), recipe="linear-probe", out=tmp_path / "run").model
    back = load(save(tuned, tmp_path / "tuned.safetensors"))
    assert differing(back, tuned) == []
    assert info_of(back).labels == ("cat", "dog")
    guesses = [[guess.probabilities for guess in tg.predict(m, photos)] for m in (back, tuned)]
    assert guesses[0] == guesses[1]


@pytest.mark.parametrize("place", ["folder", "own.safetensors"])
def test_the_users_own_code_is_run_only_when_said_again(place, tmp_path, differing):
    model = tg.create_model("own_net:Net", classes=6, in_channels=4, labels=["x", "y"])
    path = save(model, tmp_path / place)
    with pytest.raises(ModelError, match="not trusted to name code") as caught:
        load(path)
    assert "builder='own_net:Net'" in str(caught.value.hint)
    back = load(path, builder="own_net:Net")
    assert [key for key in differing(back, model) if key != "table"] == []
    assert torch.equal(outputs(back, 4, 9), outputs(model, 4, 9))
    assert info_of(back) == info_of(model)


@pytest.mark.parametrize(
    ("builder", "error"),
    [("own_net:Tied", ModelError), ("torchvision/alexnet", ModelError), ("own_net:wide", MatchError)],
)
def test_another_builder_is_refused(builder, error, tmp_path):
    model = tg.create_model("own_net:Net", **({} if builder == "own_net:wide" else {"classes": 6}))
    with pytest.raises(error):
        load(save(model, tmp_path / "out"), builder=builder)


def test_tied_weights_are_tied_again(tmp_path):
    model = tg.create_model("own_net:Tied")
    back = load(save(model, tmp_path / "out"), builder="own_net:Tied")
    assert back.first.weight is back.second.weight
    assert torch.equal(back.first.weight, model.first.weight)


def plain(classes: int = 3, channels: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.mark.parametrize("place", ["folder", "x.safetensors", "x.pth"])
def test_a_model_torchgraft_did_not_build(place, tmp_path, differing):
    model = tg.describe(plain(), labels=["a", "b", "c"])
    path = save(model, tmp_path / place)
    with pytest.raises(ModelError, match="does not say how") as caught:
        load(path)
    assert "model=your_model" in str(caught.value.hint)
    mine = plain()
    assert load(path, model=mine) is mine
    assert differing(mine, model) == []
    assert not mine.training
    assert info_of(mine).labels == (None if place == "x.pth" else ("a", "b", "c"))


@pytest.mark.parametrize("sizes", [{"classes": 5}, {"channels": 3}])
def test_a_model_of_other_sizes_is_not_what_was_saved(sizes, tmp_path):
    path = save(tg.describe(plain(), labels=["a", "b", "c"]), tmp_path / "out")
    mine = plain(**sizes)
    before = {key: tensor.clone() for key, tensor in mine.state_dict().items()}
    with pytest.raises(CoverageError, match="another model"):
        load(path, model=mine)
    assert all(torch.equal(tensor, before[key]) for key, tensor in mine.state_dict().items())
    assert info_of(mine).labels is None


def test_a_head_that_was_exchanged_by_hand(tmp_path, caplog):
    model = tg.create_model("own_net:Net", in_channels=3, labels=["a", "b", "c"])
    model.fc = nn.Linear(4, 2)
    with caplog.at_level(logging.WARNING):
        back = load(save(model, tmp_path / "out"), builder="own_net:Net")
    assert torch.equal(back.fc.weight, model.fc.weight)
    assert info_of(back).labels is None
    assert "class names don't fit its head" in caplog.text


def test_arguments_that_are_no_data(tmp_path, caplog):
    """The weights are kept; that the model can't be rebuilt is told when it is saved."""
    model = tg.create_model("timm/resnet10t", norm_layer=nn.BatchNorm2d, labels=["a", "b"])
    with caplog.at_level(logging.WARNING):
        path = save(model, tmp_path / "out")
    assert "timm/resnet10t are not plain data" in caplog.text
    with pytest.raises(ModelError, match="does not say how"):
        load(path)
    back = load(path, model=tg.create_model("timm/resnet10t", num_classes=2))
    assert torch.equal(outputs(back), outputs(model))
    assert info_of(back).labels == ("a", "b")


@pytest.mark.parametrize("path", ["absent", "absent.safetensors", "empty"])
def test_nothing_there(path, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / path)


def test_the_copy_for_people_says_the_same(tmp_path):
    model = tg.create_model("timm/resnet10t", labels=["ä", "b"])
    attach_info(model, replace(info_of(model), weights={"source": "here"}))
    path = save(model, tmp_path / "out")
    written = json.loads((path / "torchgraft.json").read_text(encoding="utf-8"))
    assert written == json.loads(str(tg.open(path / "model.safetensors").metadata["torchgraft"]))
    assert (written["info"]["labels"], written["class"]) == (["ä", "b"], "ResNet")
    Path(path / "torchgraft.json").unlink()
    assert info_of(load(path)) == info_of(model)
