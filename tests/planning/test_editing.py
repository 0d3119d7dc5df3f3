"""A plan that is changed before it is applied."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft.planning import Plan


def net(channels: int = 3, classes: int = 5) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.fixture
def source() -> dict[str, torch.Tensor]:
    return net().state_dict()


def test_another_mode(source: dict[str, torch.Tensor]) -> None:
    model = net(channels=4)
    plan = tg.plan(model, source)
    assert "repeat" in plan.targets[0].why
    assert plan.set("0.weight", mode="zeros") is plan
    assert plan.targets[0].why == "input channels 3→4, zeros"
    plan.apply()
    assert torch.equal(model[0].weight[:, :3], source["0.weight"])
    assert not model[0].weight[:, 3].any()


@pytest.mark.parametrize("name", ["0", "0.*", "*"])
def test_it_is_meant_by_path_and_pattern_too(source: dict[str, torch.Tensor], name: str) -> None:
    assert "mean" in tg.plan(net(channels=4), source).set(name, mode="mean").targets[0].why


def test_the_effect_is_printed(source: dict[str, torch.Tensor]) -> None:
    plan = tg.plan(net(channels=4), source).set("0.weight", mode="zeros")
    assert "input channels 3→4, zeros (the response stays the same, whatever" in str(plan)


def test_left_fresh(source: dict[str, torch.Tensor]) -> None:
    model = net()
    own = model[4].weight.detach().clone()
    plan = tg.plan(model, source).set("4", fresh=True)
    assert plan.counts == {"loaded": 2, "adapted": 0, "fresh": 2, "used": 2, "unused": 2}
    assert not plan.undeclared
    assert plan.sources[2].why == "its place in the model was declared as new"
    plan.apply()
    assert torch.equal(model[4].weight, own)
    assert torch.equal(model[0].weight, source["0.weight"])


def test_a_changed_plan_survives_json(source: dict[str, torch.Tensor]) -> None:
    model = net(channels=4)
    plan = tg.plan(model, source).set("0.weight", mode="zeros").set("4.bias", fresh=True)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.set("0.weight", mode="sum").targets[0].why.endswith("sum")


def test_refusals(source: dict[str, torch.Tensor]) -> None:
    plan = tg.plan(net(channels=4), source)
    before = plan.to_json()
    with pytest.raises(tg.ModelError, match=r"near it: \['0.weight'"):
        plan.set("0.weigth", mode="zeros")
    with pytest.raises(tg.AdaptError, match=r"(?s)4\.bias: nothing is done to it.*modes for 0\.weight"):
        plan.set("4.bias", mode="zeros")
    with pytest.raises(tg.AdaptError, match="there is no input-channel mode 'average'"):
        plan.set("0.weight", mode="average")
    with pytest.raises(tg.AdaptError, match="nothing to change"):
        plan.set("0.weight")
    assert plan.to_json() == before


@pytest.mark.parametrize("modes", [{"input-channels": "zeros"}, {"0.weight": "zeros"}, {"0": "zeros"}])
def test_modes_of_a_plan(source: dict[str, torch.Tensor], modes: dict[str, object]) -> None:
    plan = tg.plan(net(channels=4), source, modes=modes)
    assert plan.targets[0].why == "input channels 3→4, zeros"


def test_a_tensors_own_mode_counts_first(source: dict[str, torch.Tensor]) -> None:
    plan = tg.plan(net(channels=4), source, modes={"0.weight": "mean", "input-channels": "zeros"})
    assert plan.targets[0].why == "input channels 3→4, mean"


def test_modes_for_nothing_are_refused(source: dict[str, torch.Tensor]) -> None:
    with pytest.raises(
        tg.AdaptError, match=r"(?s)'input-chanels', which is neither.*near it: input-channels"
    ):
        tg.plan(net(channels=4), source, modes={"input-chanels": "zeros"})
