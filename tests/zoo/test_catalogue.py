"""`list_models` and `published`: against what the libraries themselves list and count."""

from __future__ import annotations

import json
import sys
from dataclasses import fields

import pytest
import timm
import torchvision

from torchgraft import (
    MissingDependencyError,
    ModelError,
    PublishedWeights,
    UnknownModelError,
    create_model,
    list_models,
    published,
)
from torchgraft.storage.cache_place import Place
from torchgraft.zoo.catalogue import stated


@pytest.fixture(autouse=True)
def empty_hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_lists_are_the_libraries_own():
    assert list_models("torchvision/*") == [
        f"torchvision/{name}" for name in torchvision.models.list_models()
    ]
    assert list_models("timm/*") == [f"timm/{name}" for name in timm.list_models()]
    assert list_models() == [*list_models("torchvision/*"), *list_models("timm/*")]
    tagged = {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    assert {name.partition("/")[2] for name in list_models("timm/*", published=True)} == tagged
    assert len(list_models("timm/*", published=True)) < len(list_models("timm/*"))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("torchvision/resnet18", ["torchvision/resnet18"]),
        ("TorchVision/ResNet18", ["torchvision/resnet18"]),
        ("resnet18", ["torchvision/resnet18", "timm/resnet18"]),
        ("t*/resnet1[08]*", ["torchvision/resnet101", "torchvision/resnet18"]),
        ("torchvision/*wins", []),
        ("hf/*", []),
    ],
)
def test_patterns(pattern, found):
    assert list_models(pattern)[: len(found)] == found
    assert bool(list_models(pattern)) == bool(found)


def test_a_library_that_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert list_models("resnet18") == ["torchvision/resnet18"]
    with pytest.raises(MissingDependencyError) as caught:
        list_models("timm/*")
    assert caught.value.hint == "pip install 'torchgraft[vision]'"
    with pytest.raises(UnknownModelError, match="no library that has a list") as unknown:
        list_models("keras/*")
    assert "torchvision, timm, hf" in str(unknown.value.hint)


def test_torchvision_says_all(tmp_path):
    model = published("torchvision/resnet50")
    enumeration = torchvision.models.ResNet50_Weights
    assert [one.name for one in model.weights] == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    first, meta = model.weights[0], enumeration.IMAGENET1K_V2.meta
    assert first.url == enumeration.IMAGENET1K_V2.url
    assert first.metrics == {"ImageNet-1K": {"acc@1": 80.858, "acc@5": 95.434}}
    assert (first.parameters, first.classes, first.input_size) == (meta["num_params"], 1000, (3, 224, 224))
    assert first.labels == tuple(meta["categories"])
    assert first.nbytes == pytest.approx(meta["_file_size"] * 2**20, abs=600)
    assert (first.licence, first.cached) == (None, None)
    assert model.preprocessing == first.preprocessing
    assert published("torchvision/vit_h_14").weights[0].licence.endswith("SWAG/blob/main/LICENSE")


def test_timm_says_what_it_does():
    model = published("timm/resnet18")
    assert model.weights[0].name == timm.get_pretrained_cfg("resnet18").tag
    assert {one.name for one in model.weights} == {
        name.partition(".")[2] for name in timm.list_models("resnet18.*", pretrained=True)
    }
    first = model.weights[0]
    assert (first.licence, first.classes, first.input_size) == ("apache-2.0", 1000, (3, 224, 224))
    assert (first.metrics, first.nbytes) == ({}, None)
    assert [one.name for one in published("timm/resnet18.fb_ssl_yfcc100m_ft_in1k").weights] == [
        "fb_ssl_yfcc100m_ft_in1k"
    ]
    assert published("timm/resnet50t").weights == ()


@pytest.mark.parametrize(
    "name",
    [
        "timm/resnet10t",
        "timm/test_vit",
        "timm/resnet50t",
        "torchvision/squeezenet1_1",
        "torchvision/raft_small",
    ],
)
def test_parameters_are_those_of_the_model(name):
    expected = sum(one.numel() for one in create_model(name).parameters())
    assert published(name).parameters == expected


def test_every_entry_of_both_libraries_is_plain_and_complete():
    shown = [stated(name) for name in [*list_models("torchvision/*"), *list_models("timm/*")[::9]]]
    for model in shown:
        assert json.loads(json.dumps(model.to_json()))["name"] == model.name
        for weights in model.weights:
            assert weights.url or weights.hub
            assert weights.labels is None or len(weights.labels) == weights.classes
    assert sum(bool(one.weights and one.weights[0].metrics) for one in shown) == len(
        list_models("torchvision/*", published=True)
    )
    assert set(PublishedWeights("x").to_json()) == {field.name for field in fields(PublishedWeights)} - {
        "builder_args",
        "rename",
        "path",
    }


def test_what_is_on_this_machine(tmp_path):
    address = torchvision.models.ResNet18_Weights.DEFAULT.url
    assert published("torchvision/resnet18").weights[0].cached is None
    hub = tmp_path / "torch" / "hub" / "checkpoints" / address.rpartition("/")[2]
    hub.parent.mkdir(parents=True)
    hub.write_bytes(b"12345")
    (one,) = published("torchvision/resnet18").weights
    assert (one.cached, one.nbytes) == (hub, 5)
    ours = Place.of(address).file
    ours.parent.mkdir(parents=True)
    ours.write_bytes(b"123")
    assert published("torchvision/resnet18").weights[0].cached == ours


@pytest.mark.parametrize(
    ("name", "error", "what"),
    [
        ("torchvision/resnet81", UnknownModelError, "no model of that name"),
        ("own_net:Net", ModelError, "nothing is published"),
        ("nothing/at_all", UnknownModelError, "names no library"),
    ],
)
def test_what_is_no_entry(name, error, what):
    with pytest.raises(error, match=what):
        published(name)
