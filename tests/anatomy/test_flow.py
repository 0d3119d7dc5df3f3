"""In which order parameters are used and which feed which: the truth is read off each forward by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from torchgraft.anatomy.flow import parameter_flow


def decoded(flow):
    names = list(flow.order)

    def spelled(bits):
        return {name for bit, name in enumerate(names) if bits >> bit & 1}

    return {name: spelled(bits) for name, bits in flow.above.items()}, {
        n: spelled(b) for n, b in flow.below.items()
    }


def ordered(flow):
    return sorted(flow.order, key=flow.order.__getitem__)


def assert_mirrored(flow):
    above, below = decoded(flow)
    assert {(a, b) for a, feeding in above.items() for b in feeding} == {
        (b, a) for a, fed in below.items() for b in fed
    }


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_layer_of_either_kind(norm_first):
    """The same names and shapes: only the run tells pre-norm from post-norm."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    flow = parameter_flow(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.rand(1, 5, 8))
    above, _ = decoded(flow)
    assert_mirrored(flow)
    first, second = (f"layers.{n}." for n in (0, 1))
    if norm_first:
        assert above[f"{first}self_attn.in_proj_weight"] >= {f"{first}norm1.weight"}
        assert above[f"{first}linear1.weight"] == {f"{first}norm2.weight", f"{first}norm2.bias"}
        assert f"{first}linear2.weight" in above[f"{second}norm1.weight"]
    else:
        assert f"{first}self_attn.out_proj.weight" in above[f"{first}norm1.weight"]
        assert above[f"{first}linear1.weight"] == {f"{first}norm1.weight", f"{first}norm1.bias"}
        assert f"{first}linear2.weight" in above[f"{first}norm2.weight"]
        assert above[f"{second}linear1.weight"] == {f"{second}norm1.weight", f"{second}norm1.bias"}


def test_a_resnet():
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    flow = parameter_flow(model.eval())
    above, _ = decoded(flow)
    assert_mirrored(flow)
    assert set(flow.order) == dict(model.named_parameters()).keys()
    assert above["bn1.weight"] == {"conv1.weight"}
    assert above["layer1.0.conv1.weight"] == {"bn1.weight", "bn1.bias"}
    assert above["layer1.0.bn2.weight"] == {"layer1.0.conv2.weight"}
    assert above["layer2.0.downsample.0.weight"] == above["layer2.0.conv1.weight"]
    shortcut = {"layer2.0.downsample.1.weight", "layer2.0.downsample.1.bias"}
    assert above["layer2.1.conv1.weight"] == shortcut | {"layer2.0.bn2.weight", "layer2.0.bn2.bias"}
    order = ordered(flow)
    assert order.index("layer4.1.conv2.weight") < order.index("fc.weight")


class Backwards(nn.Module):
    """Its names and its file say another order than its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.idle = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(self.two(x) * self.scale)


def test_order_is_that_of_use_and_idle_ones_are_left_out():
    flow = parameter_flow(Backwards(), torch.rand(2, 4))
    assert [name for name in ordered(flow) if name.endswith(("weight", "scale"))] == [
        "two.weight",
        "scale",
        "one.weight",
    ]
    assert not any(name.startswith("idle") for name in flow.order)
    above, _ = decoded(flow)
    assert above["one.weight"] == {"scale"}
    assert above["scale"] == {"two.weight", "two.bias"}


def test_the_model_is_as_it_was():
    model = torchvision.models.mobilenet_v3_small().train()
    before = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    assert parameter_flow(model) is not None
    for name, tensor in model.state_dict(keep_vars=True).items():
        assert (id(tensor), True) == (before[name][0], torch.equal(tensor, before[name][1]))
    assert all(module.training for module in model.modules())


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, *_: object) -> None:
        raise RuntimeError("no")


class NoTensor(Raises):
    def forward(self, *_: object) -> str:
        return "nothing"


def test_a_model_that_can_not_run_gives_none():
    assert parameter_flow(Raises()) is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_script_gives_none():
    assert parameter_flow(torch.jit.script(nn.Linear(2, 2))) is None


def test_a_model_that_gives_no_tensor_gives_an_empty_one():
    flow = parameter_flow(NoTensor(), torch.rand(1, 3))
    assert flow == ({}, {}, {})
