"""Published weights bring their preprocessing and class names, whichever library they are of.

`predict`, `evaluate` and `finetune` use them without being told: the library's own transform and model, run
by hand, are the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from torchgraft.zoo import weights as zoo_weights

transformers = pytest.importorskip("transformers")

ByHand = Callable[[Image.Image], torch.Tensor]


@pytest.fixture
def torchvisions(tmp_path, monkeypatch) -> tuple[str, ByHand, tuple[str, ...]]:
    published = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT
    torch.manual_seed(0)
    model = torchvision.models.shufflenet_v2_x0_5().eval()
    torch.save(model.state_dict(), tmp_path / "x.pth")
    monkeypatch.setattr(zoo_weights, "fetch", lambda url: tmp_path / "x.pth")
    transform = published.transforms()
    return (
        "torchvision/shufflenet_v2_x0_5",
        lambda image: model(transform(image)[None])[0],
        tuple(published.meta["categories"]),
    )


@pytest.fixture
def timms(tmp_path, monkeypatch) -> tuple[str, ByHand, tuple[str, ...]]:
    torch.manual_seed(0)
    model = timm.create_model("test_vit").eval()
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: str(tmp_path / "x.safetensors"))
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    names = timm.data.ImageNetInfo("imagenet-1k").label_descriptions()
    return "timm/test_vit", lambda image: model(transform(image)[None])[0], tuple(names)


@pytest.fixture
def transformerses(tmp_path, monkeypatch) -> tuple[str, ByHand, tuple[str, ...]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    names = {at: f"thing {at}" for at in range(12)}
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=48, patch_size=16, id2label=names, label2id={name: at for at, name in names.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config).eval()
    nn.init.normal_(model.classifier.weight)
    model.save_pretrained(tmp_path / "it")
    size = {"height": 48, "width": 48}
    processor = transformers.ViTImageProcessorPil(size=size, resample=3, image_mean=[0.3, 0.4, 0.5])
    processor.save_pretrained(tmp_path / "it")

    def by_hand(image: Image.Image) -> torch.Tensor:
        return model(**processor(image, return_tensors="pt")).logits[0]

    return "hf/./it", by_hand, tuple(names.values())


@pytest.fixture(params=["torchvisions", "timms", "transformerses"])
def library(request: pytest.FixtureRequest) -> tuple[str, ByHand, tuple[str, ...]]:
    return request.getfixturevalue(request.param)


@pytest.fixture
def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    smooth = [generator.integers(0, 256, (5, 8, 3), dtype=np.uint8) for _ in range(8)]
    return [Image.fromarray(one).resize((320, 260), Image.Resampling.BICUBIC) for one in smooth]


def in_folders(pictures: list[Image.Image], labels: list[str], folder: Path) -> Path:
    for at, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        picture.save(folder / label / f"{at}.png")
    return folder


def test_predict_and_evaluate(library, pictures, tmp_path):
    name, by_hand, names = library
    model = tg.create_model(name, weights="DEFAULT")
    with torch.no_grad():
        probabilities = torch.stack([by_hand(picture).softmax(0) for picture in pictures])
    guesses = tg.predict(model, [np.asarray(picture) for picture in pictures], top=1)
    best = probabilities.max(1)
    assert [guess.indices[0] for guess in guesses] == best.indices.tolist()
    assert [guess.labels[0] for guess in guesses] == [names[at] for at in best.indices]
    found = torch.tensor([guess.probabilities[0] for guess in guesses], dtype=torch.float32)
    torch.testing.assert_close(found, best.values, rtol=1e-4, atol=1e-5)
    # three of the eight are filed under what the model doesn't see
    indices = [at if place % 3 else (at + 1) % len(names) for place, at in enumerate(best.indices.tolist())]
    arrays = [np.asarray(picture) for picture in pictures]
    evaluation = tg.evaluate(model, (arrays, [names[at] for at in indices]))
    assert evaluation.accuracy == pytest.approx(5 / 8)


def test_finetune(library, pictures, tmp_path):
    name, _, _ = library
    model = tg.create_model(name, weights="DEFAULT")
    how = tg.info_of(model).preprocessing
    folder = in_folders(pictures, ["one", "two"] * 4, tmp_path / "photos")
    result = tg.finetune(model, folder, val=0.5)
    assert result.classes == ("one", "two")
    assert tg.info_of(result.model).preprocessing == how
    assert tg.info_of(result.model).labels == ("one", "two")


@pytest.mark.parametrize("given", ["path", "address"])
def test_a_published_file_is_known_by_its_name(given, tmp_path, monkeypatch):
    """Its preprocessing is its own, and not that of the default weights."""
    old = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1
    path = tmp_path / old.url.rpartition("/")[2]
    torch.save(torchvision.models.mobilenet_v2().state_dict(), path)
    monkeypatch.setattr(zoo_weights, "fetch", lambda url: path)
    model = tg.create_model("mobilenet_v2", weights=path if given == "path" else old.url)
    info = tg.info_of(model)
    assert info.labels == tuple(old.meta["categories"])
    assert info.preprocessing.crop == pytest.approx(224 / 256)
    assert torchvision.models.MobileNet_V2_Weights.DEFAULT is not old
    other = path.with_name("mobilenet_v2-00000000.pth")
    path.rename(other)
    plain = tg.info_of(tg.create_model("torchvision/mobilenet_v2", weights=other))
    assert plain.labels is None
    assert plain.preprocessing.crop == pytest.approx(224 / 232)
