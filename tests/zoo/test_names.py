"""Names of models and arguments of their builders: what can't be built is told, with what is near it."""

from __future__ import annotations

import pytest
import timm
import torchvision
from torch import nn

from torchgraft import ModelError, UnknownModelError, create_model


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("torchvision/resnet81", "torchvision has no model", '"torchvision/resnet18"'),
        ("torchvision/resnet18.tv", "torchvision has no model", '"torchvision/resnet18"'),
        ("timm/efficientnet_lit0", "timm has no model", '"timm/efficientnet_lite0"'),
        ("resnet81", "names no library", 'did you mean "torchvision/resnet18"'),
        ("resnet81", "names no library", '"timm/resnet81", "hf/owner/resnet81" or "your_module:function"'),
        ("google/vit-base-patch16-224", "names no library", 'write "hf/google/vit-base-patch16-224"'),
        ("hf/./nowhere", "no such folder", "None"),
        ("hf/a/b/c", "not the name of a repository", "hf/owner/name@revision"),
        ("torchvison/resnet18", "names no library", 'write "torchvision/resnet18"'),
        ("", "names no library", '"timm/model"'),
        ("own_net:Nett", "'own_net' has no 'Nett'", "it has Net, Tied, wide"),
        ("own_net:Net.new", "'own_net.Net' has no 'new'", "forward"),
        ("own_net:number", "not callable", "a function or a class"),
        ("own_nett:Net", "can't import 'own_nett'", "install it"),
        ("own_net.py:Net", "can't import", "install it"),
        ("code/own_net:Net", "not an import path", "package.module:function"),
        (".own_net:Net", "not an import path", "package.module:function"),
        (":Net", "not an import path", "package.module:function"),
        ("own_net:", "not an import path", "package.module:function"),
    ],
)
def test_an_unknown_name(name, what, hint):
    with pytest.raises(UnknownModelError, match=what) as caught:
        create_model(name)
    assert caught.value.where == name
    assert hint in str(caught.value.hint)


def test_a_name_like_no_other_has_no_hint():
    with pytest.raises(UnknownModelError) as caught:
        create_model("timm/zzzzqqqq")
    assert caught.value.hint is None


@pytest.mark.parametrize(
    ("name", "arguments", "what"),
    [
        ("torchvision/resnet18", {"wings": 2}, "wings"),
        ("timm/resnet18", {"wings": 2}, "wings"),
        ("own_net:Net", {"wings": 2}, "wings"),
        ("own_net:three", {}, "returned int"),
        ("timm/resnet18.nobodys", {}, "'nobodys'"),
    ],
)
def test_what_cant_be_built(name, arguments, what):
    with pytest.raises(ModelError, match=what) as caught:
        create_model(name, **arguments)
    assert caught.value.where == name


def test_what_the_users_code_raises_is_not_touched():
    with pytest.raises(ZeroDivisionError, match="mine"):
        create_model("own_net:broken")


@pytest.mark.parametrize(
    "argument",
    ["pretrained", "pretrained_cfg", "pretrained_backbone", "checkpoint_path", "weights_backbone"],
)
@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/fcn_resnet50", "own_net:Net"])
def test_builders_may_not_load_by_themselves(name, argument):
    with pytest.raises(ModelError, match=f"by itself: {argument}="):
        create_model(name, **{argument: True})


@pytest.mark.parametrize(
    ("name", "arguments", "build"),
    [
        ("torchvision/squeezenet1_1", {"dropout": 0.1}, torchvision.models.squeezenet1_1),
        ("timm/resnet10t", {"stem_width": 16}, lambda **a: timm.create_model("resnet10t", **a)),
    ],
)
def test_it_is_the_librarys_own_model_in_evaluation_mode(name, arguments, build):
    model, expected = create_model(name, **arguments), build(**arguments)
    assert type(model) is type(expected)
    assert str(model) == str(expected.eval())
    shapes = {key: tensor.shape for key, tensor in expected.state_dict().items()}
    assert {key: tensor.shape for key, tensor in model.state_dict().items()} == shapes
    assert not any(module.training for module in model.modules())


def test_a_users_class_and_function():
    import own_net

    assert isinstance(create_model("own_net:Net", classes=3).fc, nn.Linear)
    assert create_model("own_net:Net", classes=3).fc.out_features == 3
    assert isinstance(create_model("own_net:wide"), own_net.Net)
