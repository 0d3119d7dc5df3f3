"""What all recipes have in common, and how one's own is used."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
import torch
from torch import nn

from torchgraft.errors import TrainingError
from torchgraft.finetuning import RECIPES, Event, finetune
from torchgraft.finetuning.fitting.grouping import head_and_rest, learning_parameters
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.group_table import group_rows
from torchgraft.finetuning.recipes.full import Full
from torchgraft.model_info import attach_info, info_of


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn, self.conv, self.drop = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Dropout(0.1)

    def forward(self, x):
        return x + self.drop(self.conv(self.bn(x)))


class Net(nn.Module):
    """A stem, three residual blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 4, stride=4)
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


@pytest.fixture
def net(tiny):
    def build() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Net().eval()
        return attach_info(model, replace(info_of(tiny()), labels=("bright", "dark"))) or model

    return build


TRAINED = {
    "linear-probe": {"head"},
    "full": {"stem", "blocks", "head"},
    "lp-ft": {"stem", "blocks", "head"},
    "layerwise": {"stem", "blocks", "head"},
    "gradual": {"stem", "blocks", "head"},
    "l2-sp": {"stem", "blocks", "head"},
    "bitfit": {"stem.bias", "bn.bias", "conv.bias", "head"},
    "norms": {"bn.weight", "bn.bias", "head"},
    "lora": {"conv.weight", "head"},
}


def test_every_recipe_is_in_the_table():
    assert TRAINED.keys() == RECIPES.keys()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_what_it_says_and_leaves_the_rest_bit_for_bit(net, memory, recipe):
    model = net()
    keys = list(model.state_dict())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    events: list[Event] = []
    options = {} if recipe == "linear-probe" else {"epochs": 4, "lr": 0.01}
    result = finetune(model, memory, recipe=recipe, on_event=events.append, **options)
    assert list(model.state_dict()) == keys
    parameters = dict(model.named_parameters())
    changed = {name for name in parameters if not torch.equal(before[name], parameters[name])}
    expected = {name for name in parameters if any(f".{part}" in f".{name}" for part in TRAINED[recipe])}
    assert changed == expected
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.training

    (told,) = [event.groups for event in events if event.stage == "groups"]
    assert result.groups == told
    assert [row.to_json() for row in told] == result.to_json()["groups"]
    last = [row for row in told if row.phase == told[-1].phase]
    assert sum(row.parameters for row in last if not row.frozen) == result.trainable
    if recipe != "lora":  # whose adapters are more than the model
        assert sum(row.parameters for row in last) == result.total
    order = [event.stage for event in events]
    assert order.index("groups") < min(order.index(s) for s in ("features", "training") if s in order)


@pytest.mark.parametrize("recipe", ["norms", "lora", "gradual"])
def test_frozen_parts_are_in_evaluation_mode_and_get_no_gradient(net, memory, recipe):
    model = net()
    seen = []

    def look(module, _args, _output):
        if torch.is_grad_enabled():
            frozen = not any(p.requires_grad for p in module.parameters())
            seen.append(frozen)
            assert not (frozen and module.training)
            assert all(p.grad is None for p in module.parameters() if not p.requires_grad)

    for module in model.modules():
        if not list(module.children()) and list(module.parameters()):
            module.register_forward_hook(look)
    finetune(model, memory, recipe=recipe, epochs=2, lr=0.01)
    assert any(seen)
    assert not all(seen)


@pytest.mark.parametrize(("freeze_bn", "moves"), [(True, False), (False, True)])
@pytest.mark.parametrize("recipe", ["norms", "bitfit"])
def test_statistics_follow_the_policy_though_scale_and_shift_learn(net, memory, recipe, freeze_bn, moves):
    model = net()
    before = model.blocks[1].bn.running_mean.clone()
    finetune(model, memory, recipe=recipe, epochs=2, freeze_bn=freeze_bn)
    assert moves is not torch.equal(model.blocks[1].bn.running_mean, before)


@pytest.mark.parametrize(
    ("recipe", "option"),
    [
        *(("linear-probe", name) for name in ("mixup", "clip", "augment", "ema", "freeze_bn")),
        ("lora", "shard"),
    ],
)
def test_an_option_that_a_recipe_can_not_use_is_refused_by_name(net, memory, recipe, option):
    with pytest.raises(TrainingError, match=f"recipe '{recipe}' can't use the option '{option}'"):
        finetune(net(), memory, recipe=recipe, **{option: 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "l2-sp", "weight_decay": 0.1}, "can't use the option 'weight_decay'"),
        ({"recipe": "layerwise", "layer_decay": 0.0}, "layer_decay=0.0"),
        ({"recipe": "gradual", "phases": 0}, "phases=0"),
        ({"recipe": "lora", "rank": 0}, "rank=0"),
        ({"recipe": "lora", "dropout": 1.0}, "dropout=1.0"),
        ({"recipe": "lora", "targets": "nothing"}, "targets='nothing' matches none of the 3 layers"),
        ({"recipe": "full", "rank": 2}, "recipe 'full' has no option 'rank'"),
        ({"recipe": "nowhere:Mine"}, "'nowhere:Mine' can't be imported"),
        ({"recipe": "collections:Counter"}, "'collections:Counter' is no recipe"),
        ({"recipe": Full(), "head_lr": 2.0}, "recipe 'full' has no option 'head_lr'"),
    ],
)
def test_what_makes_no_sense(net, memory, arguments, message):
    with pytest.raises(TrainingError, match=message):
        finetune(net(), memory, **arguments)


@dataclass(frozen=True, slots=True)
class EveryOther:
    """One's own recipe: each second tensor learns."""

    first: int = 0

    def train(self, job):
        job = job.with_defaults(epochs=2, lr=0.01, weight_decay=0.0)
        return train_groups(job, self._groups(job), settings={"first": self.first})

    def groups(self, job):
        return group_rows(job.model, self._groups(job.with_defaults(epochs=2, lr=0.01, weight_decay=0.0)))

    def _groups(self, job):
        chosen = learning_parameters(job.model)[self.first :: 2]
        return head_and_rest(job, chosen, head_lr=1.0)


def test_a_recipe_of_ones_own(net, memory, monkeypatch):
    here = ModuleType("my_recipes")
    here.EveryOther = EveryOther
    monkeypatch.setitem(sys.modules, "my_recipes", here)
    results = [finetune(net(), memory, recipe=EveryOther(first=1))]
    results.append(finetune(net(), memory, recipe="my_recipes:EveryOther", first=1))
    monkeypatch.setitem(RECIPES, "every-other", "my_recipes:EveryOther")
    results.append(finetune(net(), memory, recipe="every-other", first=1))
    assert [result.recipe for result in results] == ["EveryOther", "my_recipes:EveryOther", "every-other"]
    weights = [result.model.state_dict() for result in results]
    assert all(torch.equal(weights[0][k], other[k]) for k in weights[0] for other in weights[1:])
    start = net()
    changed = {
        n for n, p in results[0].model.named_parameters() if not torch.equal(p, start.get_parameter(n))
    }
    assert changed == {name for name, _ in list(start.named_parameters())[1::2]}
