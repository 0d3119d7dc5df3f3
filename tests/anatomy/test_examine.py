"""Stems and heads against what timm and torchvision know of their models."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import timm
import torch
import torchvision
from torch import nn

from torchgraft import AnatomyError, adapt, examine
from torchgraft.anatomy import Site

TORCHVISION = {
    "resnet18": ("conv1", "fc"),
    "alexnet": ("features.0", "classifier.6"),
    "squeezenet1_0": ("features.0", "classifier.1"),
    "densenet161": ("features.conv0", "classifier"),
    "vgg11": ("features.0", "classifier.6"),
    "mobilenet_v2": ("features.0.0", "classifier.1"),
    "mobilenet_v3_small": ("features.0.0", "classifier.3"),
    "efficientnet_b0": ("features.0.0", "classifier.1"),
    "convnext_tiny": ("features.0.0", "classifier.2"),
    "vit_b_16": ("conv_proj", "heads.head"),
    "swin_t": ("features.0.0", "head"),
    "regnet_y_400mf": ("stem.0", "fc"),
    "shufflenet_v2_x1_0": ("conv1.0", "fc"),
    "mnasnet0_5": ("layers.0", "classifier.1"),
    "googlenet": ("conv1.conv", "fc", "aux1.fc2", "aux2.fc2"),
    "inception_v3": ("Conv2d_1a_3x3.conv", "fc", "AuxLogits.fc"),
}

TIMM = [
    "resnet18", "resnet50d", "efficientnet_b0", "tf_efficientnet_lite0", "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256",
    "convnext_tiny", "mixer_b16_224", "nfnet_l0", "mobilenetv3_large_100", "regnety_004", "repvgg_a0",
    "densenet121", "levit_128", "beit_base_patch16_224", "resmlp_12_224", "poolformer_s12",
    "crossvit_9_240", "twins_svt_small", "xception41", "ghostnet_100", "mobilevit_s", "convmixer_768_32",
]  # fmt: skip


def paths(sites: tuple[Site, ...]) -> set[str]:
    return {site.path for site in sites}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name):
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # regnet computes widths with tensors
        model = torchvision.models.get_model(name, **extra)
    found = examine(model)
    stem, *heads = TORCHVISION[name]
    assert (paths(found.stems), paths(found.heads)) == ({stem}, set(heads))
    assert (found.stems[0].in_size, found.heads[0].out_size) == (3, 1000)


@pytest.mark.parametrize("name", TIMM)
def test_timm(name):
    def as_set(value: str | tuple[str, ...]) -> set[str]:
        return {value} if isinstance(value, str) else set(value)

    with torch.device("meta"):
        model = timm.create_model(name)
    found = examine(model)
    config = model.default_cfg
    assert (paths(found.stems), paths(found.heads)) == (
        as_set(config["first_conv"]),
        as_set(config["classifier"]),
    )


class TwoEyes(nn.Module):
    """Two inputs by keyword, two outputs in a dict; names that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 4, 3)
        self.a = nn.Linear(6, 4)
        self.first = nn.Linear(4, 5)
        self.b = nn.Linear(4, 2)

    def forward(self, image: torch.Tensor, extra: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = self.last(image / 2).mean((2, 3)) + self.a(extra)
        return {"class": self.first(seen).softmax(-1), "side": [self.b(seen)]}


def test_several_inputs_and_outputs():
    found = examine(TwoEyes(), example={"image": torch.rand(1, 3, 8, 8), "extra": torch.rand(1, 6)})
    assert found.stems == (Site("last", "conv", 3, 4), Site("a", "linear", 6, 4))
    assert found.heads == (Site("first", "linear", 4, 5), Site("b", "linear", 4, 2))


class InPlace(nn.Module):
    """Adds to its own input in place, as residual blocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x -= 1
        x += self.one(x)
        return self.two(x).relu_()


@dataclass
class Answer:
    logits: torch.Tensor


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(16, 8)
        self.words = nn.Embedding(50, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor) -> Answer:
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        return Answer(self.out((self.words(ids) + self.places(places)).mean(1)))


class Table(nn.Module):
    """A small network on a buffer, as Swin v2's position bias is, is no stem."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.rand(1, 2))
        self.bias = nn.Linear(2, 4)
        self.stem = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.bias(self.table) + self.stem(x))


@pytest.mark.parametrize(
    ("model", "stems", "heads"),
    [
        (nn.Linear(4, 2), [""], [""]),
        (nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(-1)), ["0"], ["2"]),
        (
            nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 2)),
            ["1"],
            ["3"],
        ),
        (
            nn.Sequential(nn.Conv1d(2, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)),
            ["0"],
            ["3"],
        ),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv3d(2, 5, 1), nn.AdaptiveAvgPool3d(1)), ["0"], ["1"]),
        (nn.Sequential(OrderedDict(head=nn.Conv2d(1, 2, 3), stem=nn.Conv2d(2, 2, 1))), ["head"], ["stem"]),
        (InPlace(), ["one"], ["two"]),
        (Reader(), ["words"], ["out"]),
        (Table(), ["stem"], ["head"]),
    ],
    ids=["layer", "mlp", "input norm", "1-d", "3-d", "misnamed", "in place", "tokens", "table"],
)
def test_modules_of_all_kinds(model, stems, heads):
    example = torch.rand(1, 3) if isinstance(model, Table) else None
    found = examine(model, example=example)
    assert [site.path for site in found.stems] == stems
    assert [site.path for site in found.heads] == heads


def test_a_backbone_has_a_stem_and_no_head():
    with torch.device("meta"):
        found = examine(timm.create_model("resnet18", num_classes=0))
    assert (paths(found.stems), found.heads) == ({"conv1"}, ())
    assert "features" in found.notes[0]


def test_a_model_that_cuts_its_graph_says_so():
    class Frozen(nn.Sequential):
        forward = torch.no_grad()(nn.Sequential.forward)

    found = examine(Frozen(nn.Linear(4, 3), nn.Linear(3, 2)))
    assert (paths(found.stems), found.heads) == ({"0"}, ())
    assert "without gradients" in found.notes[0]


def test_a_compiled_model_is_not_compiled_for_it():
    model = torch.compile(
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), backend=lambda *_: pytest.fail("was compiled")
    )
    assert paths(examine(model).heads) == {"_orig_mod.1"}


class Moody(nn.Module):
    """Changes itself whenever it runs, and fails on images."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.register_buffer("runs", torch.zeros(()))
        self.seen: object = None
        self.norm.train(False)
        self.first.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        self.extra_buffer = torch.rand(2)
        self.seen = x
        self.register_buffer("late", torch.rand(2))
        out = self.norm(self.first(x))
        if x.shape[-1] == 5:
            raise ValueError("not five")
        return out


@pytest.mark.parametrize("side", [4, 5])
def test_the_model_is_left_as_it_was(side):
    model = Moody()
    calls: list[int] = []
    handle = model.first.register_forward_hook(lambda *_: calls.append(1))
    random = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if side == 5:
        with pytest.raises(AnatomyError, match="not five"):
            examine(model, example=torch.rand(1, 3, 5, 5, generator=torch.Generator()))
    else:
        examine(model, example=torch.rand(1, 3, 4, 4, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), random)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == [True, True, False]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
    assert model.seen is None
    assert not hasattr(model, "extra_buffer")
    handle.remove()
    calls.clear()
    model(torch.rand(2, 3, 4, 4))
    assert not calls, "the handle of a hook that was there before still removes it"
    assert len(model.first._forward_hooks) == len(model.first._forward_pre_hooks) == 0


def test_named_layers_need_no_run():
    class Unrunnable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.block = nn.Conv2d(6, 2, 3, groups=2), nn.Sequential(nn.Dropout(), nn.Linear(7, 3))

        def forward(self) -> None:
            raise AssertionError("was run")

    found = examine(Unrunnable(), stem="a", head=["block"])
    assert found.stems == (Site("a", "conv", 6, 2, groups=2),)
    assert found.heads == (Site("block.1", "linear", 7, 3),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stem": "conv2"}, "there is no module 'conv2'(.|\n)*conv1"),
        ({"head": "layer4"}, "has 5 layers, one is needed"),
        ({"head": []}, "no head is named"),
        (
            {"example": torch.empty(1, 5, 64, 64, device="meta")},
            r"\[1, 5, 64, 64\]: RuntimeError(.|\n)*example=",
        ),
    ],
)
def test_what_can_not_be_is_said(arguments, message):
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    with pytest.raises(AnatomyError, match=message):
        examine(model, **arguments)


def test_lazy_layers_are_refused():
    with pytest.raises(AnatomyError, match=r"0\.weight has no shape yet"):
        examine(nn.Sequential(nn.LazyLinear(3)))


def test_the_callers_gradient_mode_makes_no_difference():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        assert paths(examine(model).heads) == {"2"}
    with torch.inference_mode():
        assert paths(examine(model).heads) == {"2"}
        assert paths(examine(model, example=torch.rand(1, 4)).stems) == {"0"}
        assert not adapt(model, num_classes=5)[2].weight.is_inference()
        made_there = nn.Linear(4, 2)
    with pytest.raises(AnatomyError, match="made in inference mode"):
        examine(made_there)


def test_inputs_that_fail_alike_are_named_once():
    class Unfinished(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

    with pytest.raises(AnatomyError) as caught:
        examine(Unfinished())
    assert str(caught.value).count("NotImplementedError") == 1
    assert "[1, 3, 224, 224], [1, 3, 256, 256], " in str(caught.value)
