"""`adapt` against models that timm and torchvision build with those sizes themselves."""

from __future__ import annotations

import copy
import json

import pytest
import timm
import torch
import torchvision
from timm.models import adapt_input_conv
from torch import nn

from torchgraft import AdaptError, AnatomyError, Preprocessing, adapt, describe, info_of

TIMM = [
    "resnet18", "efficientnet_b0", "tf_efficientnet_lite0", "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224", "deit_tiny_distilled_patch16_224", "convnext_atto", "mixer_s32_224",
    "nfnet_l0", "mobilenetv3_small_050", "regnetx_002", "repvgg_a0", "levit_128s", "densenet121",
    "resmlp_12_224",
]  # fmt: skip


@pytest.mark.parametrize("name", TIMM)
def test_as_timm_builds_it(name):
    """Shapes and names for all; on the meta device, where nothing is computed."""
    with torch.device("meta"):
        model = adapt(timm.create_model(name), in_channels=5, num_classes=7)
        built = timm.create_model(name, in_chans=5, num_classes=7)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in built.state_dict().items()}
    assert model.num_classes == 7
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "nfnet_l0", "tf_efficientnet_lite0"])
def test_computes_as_timm_builds_it(name):
    model = adapt(timm.create_model(name), in_channels=5, num_classes=7).eval()
    built = timm.create_model(name, in_chans=5, num_classes=7).eval()
    built.load_state_dict(model.state_dict())
    x = torch.rand(1, 5, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(x), built(x))


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6, 8])
def test_repeat_is_timms(channels):
    model = timm.create_model("resnet10t")
    old = model.conv1[0].weight.detach().clone()
    adapt(model, in_channels=channels)
    assert torch.equal(model.conv1[0].weight, adapt_input_conv(channels, old))


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 64), ("alexnet", 64), ("squeezenet1_0", 64), ("densenet161", 64), ("vgg11", 64)],
)
def test_the_articles_models_run_with_new_sizes(name, side):
    model = torchvision.models.get_model(name)
    names = [path for path, _ in model.named_modules()]
    modules = list(model.modules())
    adapt(model, in_channels=4, num_classes=21, example=torch.rand(1, 3, side, side)).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 4, side, side)).shape == (2, 21)
    assert [path for path, _ in model.named_modules()] == names
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert getattr(model, "num_classes", 21) == 21


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))


def test_labels_carry_rows_and_a_new_row_is_as_the_class_makes_it():
    model = describe(mlp(), labels=["cat", "dog", "cow"])
    old = model[2].weight.detach().clone(), model[2].bias.detach().clone()
    torch.manual_seed(3)
    adapt(model, labels=["dog", "emu", "cat", "cow"])
    torch.manual_seed(3)
    fresh = nn.Linear(4, 4)
    for new, had, made in zip(model[2].parameters(), old, fresh.parameters(), strict=True):
        assert torch.equal(new, torch.stack([had[1], made[1], had[0], had[2]]))
    assert (model[2].out_features, info_of(model).labels) == (4, ("dog", "emu", "cat", "cow"))


def test_fresh_without_labels_in_common():
    torch.manual_seed(5)
    fresh = nn.Linear(4, 2)
    for known in (None, ["a", "b", "c"]):
        model = describe(mlp(), labels=known)
        torch.manual_seed(5)
        adapt(model, labels=["x", "y"])
        assert torch.equal(model[2].weight, fresh.weight)
        assert torch.equal(model[2].bias, fresh.bias)


def test_a_head_of_that_size_is_kept():
    model = mlp()
    kept = model[2].weight
    adapt(model, num_classes=3)
    adapt(model, labels=["a", "b", "c"])
    adapt(model, num_classes=3)
    adapt(model, labels=["A", "b", "c"])
    assert model[2].weight is kept
    assert (info_of(model).labels, info_of(model).surgery) == (("A", "b", "c"), ())
    adapt(model, num_classes=4)
    assert info_of(model).labels is None


def test_what_it_did_is_remembered_and_replays_without_a_run():
    model = describe(timm.create_model("resnet10t"), preprocessing=Preprocessing(size=(64, 64)))
    twin = copy.deepcopy(model)
    adapt(model, in_channels=4, num_classes=5, in_mode=[0, 1, 2, "mean"])
    adapt(model, num_classes=6)
    info = info_of(model)
    assert info.preprocessing is not None
    assert info.preprocessing.channels == 4
    steps = json.loads(json.dumps(info.to_json()["surgery"]))
    assert steps == [
        {
            "in_channels": 4,
            "in_mode": [0, 1, 2, "mean"],
            "stem": ["conv1.0"],
            "num_classes": 5,
            "head": ["fc"],
        },
        {"num_classes": 6, "head": ["fc"]},
    ]
    twin.register_forward_pre_hook(lambda *_: pytest.fail("the model was run"))
    for step in steps:
        adapt(twin, **step)
    twin.load_state_dict(model.state_dict())
    assert info_of(twin).surgery == info.surgery


class Tagged(nn.Parameter):
    """A parameter class of somebody's own."""


def test_parameters_keep_what_they_were():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).to(
        torch.bfloat16, memory_format=torch.channels_last
    )
    model[0].weight = Tagged(
        model[0].weight.detach().to(memory_format=torch.channels_last), requires_grad=False
    )
    model[0].weight.decay = False
    bias = model[0].bias
    adapt(model, in_channels=6, num_classes=2)
    weight = model[0].weight
    assert (type(weight), weight.decay, weight.requires_grad) == (Tagged, False, False)
    assert (weight.dtype, weight.is_contiguous(memory_format=torch.channels_last)) == (torch.bfloat16, True)
    assert model[0].bias is bias
    assert (model[3].weight.dtype, model[3].weight.requires_grad) == (torch.bfloat16, True)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


IMAGE = torch.rand(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (mlp(), {"num_classes": 0}, AdaptError, "at least 1"),
        (mlp(), {"in_channels": True}, AdaptError, "at least 1"),
        (mlp(), {"num_classes": 2, "labels": ["a"]}, AdaptError, "num_classes is 2, but there are 1 labels"),
        (mlp(), {"in_channels": 4, "in_mode": "guess"}, AdaptError, "no input-channel mode 'guess'"),
        (mlp(), {"num_classes": 2, "head": "9"}, AnatomyError, "no module '9'"),
        (tied(), {"num_classes": 2}, AdaptError, "shared with '0'"),
        (
            nn.Sequential(nn.ConvTranspose2d(3, 2, 1)),
            {"in_channels": 6},
            AdaptError,
            "transposed convolution",
        ),
        (
            nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
            {"num_classes": 2},
            AdaptError,
            "computed from",
        ),
        (
            nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)),
            {"in_channels": 4},
            AdaptError,
            "the model fails",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)),
            {"num_classes": 4},
            AdaptError,
            "the model fails",
        ),
        (
            nn.Sequential(nn.AvgPool3d((2, 1, 1), stride=1), nn.Conv2d(2, 2, 1)),
            {"in_channels": 4, "example": IMAGE},
            AdaptError,
            "takes 2 channels.* computed from several",
        ),
        (
            nn.Sequential(nn.PixelUnshuffle(2), nn.ChannelShuffle(2), nn.Conv2d(12, 2, 1)),
            {"in_channels": 4, "example": IMAGE},
            AdaptError,
            "takes 12 channels",
        ),
    ],
    ids=lambda value: None if isinstance(value, nn.Module) else str(value)[:30],
)
def test_on_an_error_the_model_is_untouched(model, arguments, error, message):
    parameters, sizes, info = list(model.parameters()), str(model), info_of(model)
    with pytest.raises(error, match=message):
        adapt(model, **arguments)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert (str(model), info_of(model)) == (sizes, info)


def test_transformers_keeps_its_sizes_in_a_config():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=32,
        num_labels=3,
    )
    model = adapt(transformers.ViTForImageClassification(config), in_channels=4, num_classes=5).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 4, 32, 32)).logits.shape == (1, 5)
    assert (model.num_labels, model.config.num_labels, model.config.num_channels) == (5, 5, 4)
