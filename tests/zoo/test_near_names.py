"""Names that are almost right: which model is meant, that it is noted, and what is left undecided."""

from __future__ import annotations

import logging

import pytest
import timm
import torchvision

from torchgraft import UnknownModelError, create_model, info_of, save
from torchgraft.zoo.near_names import near_names, resolved

KNOWN = [
    "resnet18",
    "squeezenet1_1",
    "vgg16_bn",
    "regnet_x_16gf",
    "regnet_x_1_6gf",
    "r2plus1d_18",
    "ab1",
    "a_b1",
]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ResNet-18", ["resnet18"]),
        ("resnet 18", ["resnet18"]),
        ("squeezenet1.1", ["squeezenet1_1"]),
        ("squeezenet_1_1", ["squeezenet1_1"]),
        ("SqueezeNet11", ["squeezenet1_1"]),
        ("vgg16-bn", ["vgg16_bn"]),
        ("VGG16BN", ["vgg16_bn"]),
        ("regnet-x-1.6gf", ["regnet_x_1_6gf"]),
        ("regnetx16gf", ["regnet_x_16gf"]),
        ("RegNet_X_16GF", ["regnet_x_16gf"]),
        ("A-B1", ["a_b1"]),
        ("a.b-1", ["ab1", "a_b1"]),
        ("resnet1.8", []),
        ("resnet1_8", []),
        ("resnet19", []),
        ("", []),
    ],
)
def test_capitals_and_separators_dont_count(name, found):
    assert near_names(name, KNOWN) == found


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("densenet_161", "torchvision/densenet161"),
        ("resnet_18", "torchvision/resnet18"),
        ("ResNet-18", "torchvision/resnet18"),
        ("squeezenet1.1", "torchvision/squeezenet1_1"),
        ("vgg16-bn", "torchvision/vgg16_bn"),
        ("efficientnet-b0", "torchvision/efficientnet_b0"),
        ("efficientnet_lite0", "timm/efficientnet_lite0"),
        ("resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("Torchvision/ResNet-18", "torchvision/resnet18"),
        ("timm/ResNet-18", "timm/resnet18"),
        ("timm/ResNet-18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("resnet18", "torchvision/resnet18"),
    ],
)
def test_it_is_resolved_with_a_note(name, full, caplog):
    with caplog.at_level(logging.WARNING):
        assert resolved(name) == full
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{name!r} is taken to be {full!r}")


@pytest.mark.parametrize(
    "name",
    [
        "torchvision/resnet18",
        "timm/resnet18.a1_in1k",
        "hf/Some/ResNet-18",
        "my.module:ResNet-18",
        "foo/bar",
        "",
    ],
)
def test_others_are_left_alone_without_a_note(name, caplog):
    assert resolved(name) == name
    assert caplog.records == []


def test_two_that_fit_are_listed(monkeypatch):
    monkeypatch.setattr(torchvision.models, "list_models", lambda: ["a_b1", "ab1", "zz"])
    with pytest.raises(UnknownModelError, match="any of 2 models") as caught:
        resolved("torchvision/A.B-1")
    assert caught.value.hint == 'write "torchvision/a_b1" or "torchvision/ab1"'


def test_every_name_of_every_library_is_itself_however_it_is_separated():
    """No name resolves to another model's: neither as it is, nor with other signs and capitals."""
    wrong = []
    for known in (torchvision.models.list_models(), timm.list_models()):
        lower = {}
        for name in known:
            lower.setdefault(name.lower().replace("-", "_").replace(".", "_"), []).append(name)
        assert all(len(names) == 1 for names in lower.values())
        for name in known[::37]:
            for spelled in (name, name.upper(), name.replace("_", "-"), name.replace("_", ".")):
                wrong += [(spelled, found) for found in [near_names(spelled, known)] if found != [name]]
    assert wrong == []


def test_the_model_remembers_the_full_name(tmp_path):
    model = create_model("SqueezeNet-1.1")
    assert info_of(model).builder == "torchvision/squeezenet1_1"
    save(model, tmp_path / "saved")
