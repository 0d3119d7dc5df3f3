"""Models of features, which keep an `nn.Identity` for the head that is put there."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import torchgraft as tg
from torchgraft import AnatomyError, adapt, examine, info_of
from torchgraft.anatomy import Site

IMAGE = torch.rand(1, 3, 8, 8)


class Features(nn.Module):
    def __init__(self, *after, **named):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.after = nn.Sequential(*after)
        self.num_classes = 0
        for name, module in named.items():
            self.add_module(name, module)
        self.named = list(named)

    def forward(self, x):
        x = self.after(self.stem(x)).mean((2, 3))
        for name in self.named:
            x = getattr(self, name)(x)
        return x


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (Features(nn.BatchNorm2d(6), fc=nn.Identity()), "fc"),
        (Features(nn.BatchNorm2d(6), anything=nn.Identity()), "anything"),
        (Features(nn.ReLU(), head=nn.Identity()), "head"),
        (Features(nn.BatchNorm2d(6), drop=nn.Identity(), head=nn.Identity(), flat=nn.Identity()), "head"),
    ],
)
def test_a_head_is_put_there(model, head):
    model = model.to(torch.bfloat16).train()
    others = dict(model.named_parameters())
    adapt(model, num_classes=5, example=IMAGE.bfloat16())
    layer = getattr(model, head)
    assert (type(layer), layer.in_features, layer.out_features) == (nn.Linear, 6, 5)
    assert (layer.weight.dtype, layer.training, model.num_classes) == (torch.bfloat16, True, 5)
    assert all(dict(model.named_parameters())[name] is held for name, held in others.items())
    assert model(IMAGE.bfloat16()).shape == (1, 5)
    assert [site.path for site in examine(model, example=IMAGE.bfloat16()).heads] == [head]


def test_a_linear_before_an_identity_is_the_head():
    model = Features(fc=nn.Linear(6, 3), out=nn.Identity())
    adapt(model, num_classes=5, example=IMAGE)
    assert (model.fc.out_features, type(model.out)) == (5, nn.Identity)


def test_examine_tells_it_apart_from_a_head():
    anatomy = examine(Features(nn.BatchNorm2d(6), fc=nn.Identity()), example=IMAGE)
    assert anatomy.heads == ()
    assert anatomy.placeholder == Site("fc", "placeholder", 6, 0)


def test_which_of_several_is_asked():
    model = Features(nn.BatchNorm2d(6), one=nn.Identity(), two=nn.Identity())
    model.pos = nn.Parameter(torch.rand(6, 6))
    with pytest.raises(tg.AdaptError, match="the model fails"):  # what is before the norm can't be the head
        adapt(model, num_classes=5, example=IMAGE)
    adapt(model, num_classes=5, example=IMAGE, head="two")
    assert model(IMAGE).shape == (1, 5)


def test_one_that_is_not_used_says_so():
    model = Features(nn.BatchNorm2d(6), fc=nn.Identity())
    model.idle = nn.Identity()
    with pytest.raises(tg.AdaptError, match="does not use on the example"):
        adapt(model, num_classes=5, example=IMAGE, head="idle")


def test_without_one_the_last_layers_are_named():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = self.stem(x)
            return x + self.block(x)

    with pytest.raises(AnatomyError, match=r"they are features.*\n.*head='block' \(linear of 4\)"):
        adapt(Residual(), num_classes=5)


def test_timms_features_get_the_head_that_timm_gives_them():
    model = adapt(timm.create_model("test_vit", num_classes=0), num_classes=5)
    built = timm.create_model("test_vit", num_classes=5)
    assert {key: held.shape for key, held in model.state_dict().items()} == {
        key: held.shape for key, held in built.state_dict().items()
    }
    assert info_of(model).surgery[0]["head"] == ["head"]
    assert model(torch.rand(1, 3, 160, 160)).shape == (1, 5)


def test_it_is_saved_and_rebuilt(tmp_path):
    model = tg.create_model("timm/eva02_tiny_patch14_224", in_channels=4, num_classes=5)
    tg.save(model, tmp_path / "adapted.safetensors")
    again = tg.load(tmp_path / "adapted.safetensors")
    state = again.state_dict()
    assert all(torch.equal(state[key], held) for key, held in model.state_dict().items())
    assert (again.num_classes, again.in_chans, again.head.out_features) == (5, 4, 5)
