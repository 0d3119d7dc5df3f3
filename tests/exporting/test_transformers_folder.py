"""transformers' folder, read back by `from_pretrained`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import torchgraft as tg

transformers = pytest.importorskip("transformers")


def small(kind: str) -> nn.Module:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if kind == "bert":
        config = transformers.BertConfig(vocab_size=100, num_labels=4, **sizes)
        return transformers.BertForSequenceClassification(config).eval()
    if kind == "gpt2":  # its head is tied to its embedding
        config = transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=2, vocab_size=100, bos_token_id=1, eos_token_id=1
        )
        return transformers.GPT2LMHeadModel(config).eval()
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=4)
    return transformers.ResNetForImageClassification(config).eval()


@pytest.mark.parametrize("kind", ["bert", "gpt2", "resnet"])
def test_from_pretrained_gives_the_same_model(kind, tmp_path):
    model = small(kind)
    exported = tg.export(model, tmp_path / "out")
    assert (exported.format, exported.difference) == ("transformers", 0.0)
    again = type(model).from_pretrained(tmp_path / "out").eval()
    given = torch.rand(2, 3, 64, 64) if kind == "resnet" else torch.randint(100, (2, 7))
    assert torch.equal(again(given).logits, model(given).logits)


def test_an_adapted_model_with_its_classes_and_preprocessing(vit, tmp_path):
    model = vit()
    tg.describe(model, preprocessing=tg.Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3))
    tg.adapt(model, in_channels=4, labels=["x", "y", "z", "w"], image_size=48)
    tg.export(model, tmp_path / "out")
    again = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    images = torch.rand(2, 4, 48, 48)
    assert torch.equal(again(pixel_values=images).logits, model(pixel_values=images).logits)
    assert again.config.id2label == {0: "x", 1: "y", 2: "z", 3: "w"}
    assert again.config.label2id == {"x": 0, "y": 1, "z": 2, "w": 3}
    processor = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert processor["crop_size"] == {"height": 48, "width": 48}
    assert processor["image_mean"] == [0.5] * 4


@pytest.mark.parametrize("squash", [False, True])
def test_their_processor_prepares_an_image_as_ours_does(squash, vit, tmp_path):
    from torchgraft.finetuning.inputs.input_tensor import evaluation_input

    model = vit()
    how = tg.Preprocessing(size=(32, 32), crop=0.8, interpolation="bilinear", squash=squash)
    tg.describe(model, preprocessing=how)
    tg.export(model, tmp_path / "out")
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out", backend="pil")
    rows, columns = np.mgrid[:60, :90]
    smooth = np.stack([rows * 4, columns * 2, rows + columns], -1).astype(np.uint8)
    image = Image.fromarray(smooth)
    theirs = processor(image, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(theirs, evaluation_input(image, how), rtol=0, atol=0.02)  # of some 4 in all


def test_a_text_model_has_no_image_processor(tmp_path):
    tg.export(small("bert"), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "config.json", "model.safetensors"
    }  # fmt: skip


def test_what_its_config_cannot_say_is_refused(vit, tmp_path):
    model = vit()
    model.classifier = nn.Sequential(nn.Linear(32, 8), nn.Linear(8, 3))
    with pytest.raises(tg.SaveError, match="transformers"):
        tg.export(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_another_model_is_refused(small_module, tmp_path):
    with pytest.raises(tg.SaveError, match="no model of transformers"):
        tg.export(small_module, tmp_path / "out", format="transformers")


@pytest.fixture
def small_module():
    return nn.Linear(3, 2)
