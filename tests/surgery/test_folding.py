"""`adapt(normalisation=)`: the same answers for images that are normalised otherwise."""

from __future__ import annotations

import copy
import json

import pytest
import timm
import torch
from torch import nn

from torchgraft import AdaptError, Preprocessing, adapt, describe, info_of, load, save

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(image: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    shape = (1, -1, *(1,) * (image.ndim - 2))
    return (image - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)


def net(stem: nn.Module, *more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (stem, *more, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(stem.out_channels, 5))
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return describe(nn.Sequential(*layers).eval(), preprocessing=Preprocessing(size=(16, 16)))


STEMS = {
    "bias": lambda: net(nn.Conv2d(3, 8, 3)),
    "no bias": lambda: net(nn.Conv2d(3, 8, 3, bias=False)),
    "batch norm": lambda: net(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)),
    "groups": lambda: net(nn.Conv2d(3, 6, 3, groups=3)),
    "patches": lambda: net(nn.Conv2d(3, 8, 4, stride=4)),
    "reflected": lambda: net(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")),
}


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(
    ("wanted", "mean", "std"),
    [
        ("0..1", (0.0,) * 3, (1.0,) * 3),
        ("0..255", (0.0,) * 3, (1 / 255,) * 3),
        ("-1..1", (0.5,) * 3, (0.5,) * 3),
        (([0.1, 0.2, 0.3], 2.0), (0.1, 0.2, 0.3), (2.0,) * 3),
    ],
)
def test_the_same_answers(stem, wanted, mean, std):
    model = STEMS[stem]()
    image = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        before = model(normalised(image, MEAN, STD))
        adapt(model, normalisation=wanted)
        torch.testing.assert_close(model(normalised(image, mean, std)), before, rtol=1e-4, atol=1e-5)
    info = info_of(model)
    assert info.preprocessing is not None
    assert (info.preprocessing.mean, info.preprocessing.std) == (mean, std)
    twin = STEMS[stem]()
    for step in json.loads(json.dumps(info.to_json()["surgery"])):
        adapt(twin, **step)
    twin.load_state_dict(model.state_dict())
    assert (model[0].bias is None) == (stem == "batch norm")


def test_back_again():
    model = STEMS["bias"]()
    weight, bias = model[0].weight.detach().clone(), model[0].bias.detach().clone()
    adapt(model, normalisation="0..1")
    adapt(model, normalisation="imagenet")
    torch.testing.assert_close(model[0].weight, weight)
    torch.testing.assert_close(model[0].bias, bias)


def test_padding_with_zeros_is_refused_and_said_how_much_it_matters():
    model = net(nn.Conv2d(3, 8, 3, padding=1))
    weight = model[0].weight
    with pytest.raises(AdaptError, match=r"changes \d+\.\d% of its response.*mean colour") as caught:
        adapt(model, normalisation="0..1")
    share = float(str(caught.value).split("changes ")[1].split("%")[0])
    assert share == pytest.approx(100 * (1 - 14**2 / 16**2), abs=0.1)
    assert model[0].weight is weight
    assert info_of(model).surgery == ()


def test_only_the_border_differs_where_that_is_allowed():
    model = net(nn.Conv2d(3, 8, 3, padding=1))
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = model[0](normalised(image, MEAN, STD))
        adapt(model, normalisation="0..1", modes={"normalisation": "approximate"})
        after = model[0](image)
    torch.testing.assert_close(after[..., 1:-1, 1:-1], before[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-5)
    assert (after - before).abs().max() > 0.1
    assert info_of(model).surgery[0]["modes"] == {"normalisation": "approximate"}


def test_another_std_alone_is_exact_with_padding_too():
    model = net(nn.Conv2d(3, 8, 3, padding=1, bias=False))
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        before = model(normalised(image, MEAN, STD))
        adapt(model, normalisation=(MEAN, 1.0))
        torch.testing.assert_close(model(normalised(image, MEAN, (1.0,) * 3)), before, rtol=1e-4, atol=1e-5)
    assert model[0].bias is None
    twin = net(nn.Conv2d(3, 8, 3, padding=1, bias=False)).to("meta")
    adapt(twin, **info_of(model).surgery[0])
    assert twin[0].bias is None


def test_padding_outside_of_the_layer_is_seen():
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.stem(nn.functional.pad(x, (1, 1, 1, 1))).mean((2, 3)))

    with pytest.raises(AdaptError, match="mean colour"):
        adapt(Padded(), normalisation={"from": "imagenet", "to": "0..1"}, example=torch.rand(1, 3, 9, 9))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mixer_s32_224", "convnext_atto"])
def test_timms_patch_stems(name, tmp_path):
    model = timm.create_model(name).eval()
    describe(model, preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3))
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        before = model((image - 0.5) / 0.5)
        adapt(model, normalisation="0..1")
        torch.testing.assert_close(model(image), before, rtol=1e-3, atol=1e-4)


def test_with_other_channels_and_classes_in_one_call(tmp_path):
    import torchgraft as tg

    model = tg.create_model("timm/vit_tiny_patch16_224")
    adapt(model, normalisation="0..1", in_channels=4, num_classes=5, in_mode="zeros")
    assert info_of(model).preprocessing.mean == (0.0,) * 4
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    x = torch.rand(1, 4, 224, 224)
    with torch.no_grad():
        assert torch.equal(again(x), model.eval()(x))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("imagenette", "can't be 'imagenette'"),
        ((0.5,), "can't be"),
        (((0.5, 0.5), 1.0), "don't fit 3 channels"),
        ((0.5, 0.0), "must be above 0"),
        ((0.5, "a"), "can't hold 'a'"),
        ({"from": "0..1"}, "can't be"),
    ],
)
def test_refused(wanted, message):
    with pytest.raises(AdaptError, match=message):
        adapt(STEMS["bias"](), normalisation=wanted)


def test_what_is_not_known_is_asked_for():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(AdaptError, match="not known how the model's images are normalised"):
        adapt(model, normalisation="0..1")
    adapt(model, normalisation={"from": "imagenet", "to": "0..1"})


def test_a_layer_that_rescales_its_weight_is_refused():
    class Standardised(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self._conv_forward(x, self.weight / self.weight.std(), self.bias)

    for modes in ({}, {"normalisation": "approximate"}):
        with pytest.raises(AdaptError, match="does not compute with its weight as it is"):
            adapt(net(Standardised(3, 8, 3)), normalisation="0..255", modes=modes)


def test_done_again_without_a_run():
    model = STEMS["batch norm"]()
    twin = copy.deepcopy(model)
    adapt(model, normalisation="0..1")
    twin.register_forward_pre_hook(lambda *_: pytest.fail("the model was run"))
    adapt(twin, **info_of(model).surgery[0])
    torch.testing.assert_close(twin[1].running_mean, model[1].running_mean)


def test_an_error_later_takes_it_back():
    model = STEMS["batch norm"]()
    mean = model[1].running_mean.clone()
    weight = model[0].weight
    with pytest.raises(AdaptError):
        adapt(model, normalisation="0..1", in_channels=2, in_mode="zeros")
    assert model[0].weight is weight
    assert torch.equal(model[1].running_mean, mean)
    assert info_of(model).surgery == ()
