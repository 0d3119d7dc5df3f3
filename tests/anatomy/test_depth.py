"""The oracle is timm's own grouping of its models, `group_matcher`."""

import pytest
import timm
import torch
import torchvision
import transformers
from timm.models import group_parameters
from torch import nn

from torchgraft.anatomy.blocks import blocks_of
from torchgraft.anatomy.depth import layers_of

OF_TIMM = [
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "resnet18",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "efficientnet_lite0",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "resnet50",
            "resnetv2_50",
            "mobilenetv2_050",
            "regnetx_002",
            "mixer_s32_224",
            "pvt_v2_b0",
        )
    ),
]


def depths(model: nn.Module, heads: list[str], example: object = None) -> dict[str, int]:
    layers = layers_of(model, heads, example)
    return {name: depth for depth, layer in enumerate(layers) for name in layer.parameters}


@pytest.mark.parametrize("name", OF_TIMM)
def test_as_timm_groups_its_models(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    heads = model.pretrained_cfg["classifier"]
    example = torch.zeros(1, 3, 224, 224, device="meta")
    ours = depths(model, [heads] if isinstance(heads, str) else list(heads), example)
    assert ours == group_parameters(model, model.group_matcher(coarse=False), reverse=True)


@pytest.mark.parametrize(
    ("name", "head", "depth", "block"),
    [
        ("resnet18", "fc", 10, "layer1.0"),
        ("mobilenet_v2", "classifier.1", 19, "features.1"),
        ("efficientnet_b0", "classifier.1", 18, "features.1.0"),
        ("convnext_tiny", "classifier.2", 20, "features.1.0"),
        ("vit_b_16", "heads.head", 14, "encoder.layers.encoder_layer_0"),
        ("densenet121", "classifier", 60, "features.denseblock1.denselayer1"),
        ("squeezenet1_0", "classifier.1", 10, "features.3"),
        ("vgg11", "classifier.6", 11, "features.3"),
    ],
)
def test_torchvision(name, head, depth, block):
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    layers = layers_of(model, [head], torch.zeros(1, 3, 224, 224, device="meta"))
    assert len(layers) == depth
    assert (layers[0].name, layers[1].name, layers[-1].name) == ("stem", block, "head")
    held = [parameter for layer in layers for parameter in layer.parameters]
    assert sorted(held) == sorted(name for name, _ in model.named_parameters())


TWO_BY_TWO = {"depths": [2, 2], "num_heads": [2, 2]}
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.mark.parametrize(
    ("kind", "config", "depth"),
    [
        ("ViT", {**SMALL, "image_size": 32, "patch_size": 8}, 5),
        ("Dinov2", {**SMALL, "image_size": 28, "patch_size": 14}, 5),
        (
            "Swin",
            {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]},
            6,
        ),
        ("ResNet", {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [2, 2]}, 6),
        ("ConvNext", {"hidden_sizes": [8, 16], "depths": [2, 3], "num_stages": 2}, 7),
    ],
)
def test_transformers(kind, config, depth):
    config = getattr(transformers, f"{kind}Config")(**config)
    model = getattr(transformers, f"{kind}ForImageClassification")(config)
    head = "classifier.1" if kind == "ResNet" else "classifier"
    found = depths(model, [head])
    assert set(found.values()) == set(range(depth))
    for name, place in found.items():
        if "embeddings" in name or "embedder" in name:
            assert place == 0
        if name.startswith("classifier"):
            assert place == depth - 1


class Shared(nn.Module):
    """Two blocks that share a weight, registered in another order than they run in; one layer is unused."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.late, self.early = Block(), Block()
        self.late.mix.weight = self.early.mix.weight
        self.position = nn.Parameter(torch.zeros(1, 4))
        self.embed = nn.Linear(3, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.late(self.early(self.embed(x) + self.position)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x):
        return x + self.mix(self.norm(x))


def test_the_order_is_that_of_use_and_a_shared_parameter_is_where_it_is_first_used():
    model = Shared()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = depths(model, ["head"], torch.zeros(1, 3))
    assert {found["position"], found["embed.weight"]} == {0}
    assert found["early.norm.weight"] == 1
    assert found["late.norm.weight"] == 2
    # registered under `late` alone, used by `early` first: the block runs when the first of it is used
    assert found["late.mix.weight"] <= 2
    assert found["head.bias"] == 3
    assert found.keys() == {name for name, _ in model.named_parameters()}
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_takes_no_guess_is_grouped_by_registration():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3, 4)
            self.blocks = nn.ModuleList([Block(), Block()])
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            raise RuntimeError("never")

    assert [layer.name for layer in layers_of(Odd(), ["head"])] == ["stem", "blocks.0", "blocks.1", "head"]


def test_a_row_of_calls_is_no_block_but_what_adds_its_input_is():
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(Block(), Block())

        def forward(self, x):
            return self.blocks(x)

    class InPlace(Block):
        def forward(self, x):
            y = self.mix(self.norm(x))
            y += x  # the same tensor object, written to
            return torch.relu_(y)

    model = nn.Sequential(nn.Linear(3, 4), Stage(), Stage(), InPlace(), InPlace(), nn.Linear(4, 2))
    expected = ["1.blocks.0", "1.blocks.1", "2.blocks.0", "2.blocks.1", "3", "4"]
    assert blocks_of(model, torch.zeros(1, 3)) == expected


def test_a_plain_network_has_a_depth_for_each_convolution_with_its_norm():
    class ConvNorm(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv, self.norm, self.act = nn.Conv2d(width, 4, 3), nn.BatchNorm2d(4), nn.ReLU()

        def forward(self, x):
            return self.act(self.norm(self.conv(x)))

    model = nn.Sequential(
        ConvNorm(3), ConvNorm(4), ConvNorm(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    found = depths(model, ["5"], torch.zeros(2, 3, 16, 16))
    assert [found[f"{place}.{layer}.bias"] for place in range(3) for layer in ("conv", "norm")] == [
        *(0, 0, 1, 1, 2, 2)
    ]
    assert found["5.weight"] == 3
