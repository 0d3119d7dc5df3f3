"""Fused, split and turned tensors, applied: the values are compared with what is put together by hand."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft.adapting import Block, Permuted

WIDTH, HEADS = 8, 2


class Split(nn.Module):
    """Attention as three layers, in the order key, query, value; named unlike `Fused`."""

    def __init__(self, *, k_bias: bool = True) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, WIDTH)
        self.k_proj = nn.Linear(WIDTH, WIDTH, bias=k_bias)
        self.q_proj = nn.Linear(WIDTH, WIDTH)
        self.v_proj = nn.Linear(WIDTH, WIDTH)
        self.o_proj = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.ModuleDict({"up": nn.Linear(WIDTH, 5), "down": nn.Linear(5, WIDTH)})
        self.classes = nn.Linear(WIDTH, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        heads = [
            layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        ]
        y = self.o_proj(nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return self.classes((y + self.mlp["down"](self.mlp["up"](y))).mean(1))


class Fused(nn.Module):
    """The same function with one layer for query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(11, WIDTH)
        self.att = nn.ModuleDict({"qkv": nn.Linear(WIDTH, 3 * WIDTH), "out": nn.Linear(WIDTH, WIDTH)})
        self.fc1, self.fc2 = nn.Linear(WIDTH, 5), nn.Linear(5, WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        q, k, v = self.att["qkv"](self.wte(ids)).chunk(3, -1)
        heads = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k, v)]
        y = self.att["out"](nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return self.head((y + self.fc2(self.fc1(y))).mean(1))


IDS = torch.tensor([[1, 5, 9, 2], [3, 3, 0, 10]])


def by_hand(state, leaf):
    return torch.cat([state[f"{name}_proj.{leaf}"] for name in "qkv"])


def test_joined_values_and_the_same_function():
    source, target = Split().eval(), Fused().eval()
    plan = tg.plan(target, source, example=IDS)
    plan.apply()
    assert torch.equal(target.att["qkv"].weight, by_hand(source.state_dict(), "weight"))
    assert torch.equal(target.att["qkv"].bias, by_hand(source.state_dict(), "bias"))
    torch.testing.assert_close(target(IDS), source(IDS))
    assert {entry.status for entry in plan.sources} == {"used"}


def test_split_values_and_the_same_function():
    source, target = Fused().eval(), Split().eval()
    tg.graft(target, source, example=IDS)
    q, k, v = source.att["qkv"].weight.chunk(3)
    for layer, rows in ((target.q_proj, q), (target.k_proj, k), (target.v_proj, v)):
        assert torch.equal(layer.weight, rows)
    torch.testing.assert_close(target(IDS), source(IDS))


def test_there_and_back_is_bit_for_bit():
    source, between, back = Split(), Fused(), Split()
    tg.graft(between, source, example=IDS)
    tg.graft(back, between, example=IDS)
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in source.state_dict().items())


def test_a_missing_key_bias_is_zeros_and_changes_nothing():
    source, target = Split(k_bias=False).eval(), Fused().eval()
    with torch.no_grad():
        target.att["qkv"].bias.fill_(7)
    tg.graft(target, source, example=IDS)
    q, k, v = target.att["qkv"].bias.chunk(3)
    assert torch.equal(q, source.q_proj.bias)
    assert torch.equal(v, source.v_proj.bias)
    assert not k.any()
    torch.testing.assert_close(target(IDS), source(IDS))


@pytest.mark.parametrize("missing", ["q", "v"])
def test_another_missing_bias_is_never_made_up(missing):
    state = Split().state_dict()
    del state[f"{missing}_proj.bias"]
    target = Fused()
    try:
        plan = tg.plan(target, state, example=IDS)
    except tg.MatchError:
        return
    (entry,) = [entry for entry in plan if entry.name == "att.qkv.bias"]
    assert entry.status == "fresh"
    with pytest.raises(tg.CoverageError):
        plan.apply()


def test_onto_the_meta_device():
    source = Split().eval()
    with torch.device("meta"):
        target = Fused().eval()
    tg.graft(target, source, example=IDS)
    assert torch.equal(target.att["qkv"].weight, by_hand(source.state_dict(), "weight"))
    assert isinstance(target.att["qkv"].weight, nn.Parameter)
    torch.testing.assert_close(target(IDS), source(IDS))


@pytest.mark.parametrize(
    ("ours", "theirs"), [("float64", "float32"), ("bfloat16", "float32"), ("float32", "bfloat16")]
)
def test_dtypes_are_cast(ours, theirs):
    source, target = Split().to(getattr(torch, ours)), Fused().to(getattr(torch, theirs))
    plan = tg.plan(target, source, example=IDS)
    plan.apply()
    assert torch.equal(
        target.att["qkv"].weight, by_hand(source.state_dict(), "weight").to(getattr(torch, theirs))
    )
    assert target.att["qkv"].weight.dtype == getattr(torch, theirs)
    (entry,) = [entry for entry in plan if entry.name == "att.qkv.weight"]
    assert f"{ours} → {theirs}" in entry.why


def test_tied_names_of_a_fused_tensor_get_it_once():
    source, target = Split(), Fused()
    target.copy = nn.ModuleDict({"qkv": target.att["qkv"]})
    plan = tg.plan(target, source, example=IDS)
    plan.apply()
    found = {entry.name: entry for entry in plan}
    assert found["copy.qkv.weight"].sources == found["att.qkv.weight"].sources
    assert target.copy["qkv"].weight is target.att["qkv"].weight
    assert torch.equal(target.copy["qkv"].weight, by_hand(source.state_dict(), "weight"))


def test_as_json_it_comes_back_and_does_the_same():
    source, one, other = Split(k_bias=False), Fused(), Fused()
    plan = tg.plan(one, source, example=IDS)
    back = tg.Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert back == plan
    plan.apply()
    back.bind(other, source).apply()
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ({"source": 3}, "is no name"),
        ({"shape": "8"}, "is no shape"),
        ({"ops": [{"op": "none"}]}, "no op"),
        ({"source_shape": [-1]}, "is no shape"),
    ],
)
def test_damaged_parts_are_refused(damage, what):
    data = json.loads(json.dumps(tg.plan(Fused(), Split(), example=IDS).to_json()))
    entry = next(entry for entry in data["targets"] if entry["joined"])
    entry["joined"][1].update(damage)
    with pytest.raises(tg.TorchgraftError, match=what):
        tg.Plan.from_json(data)


def test_all_parts_are_announced_before_they_are_read(monkeypatch):
    source = tg.checkpoint.Checkpoint.from_state_dict(Split().state_dict())
    asked: list[str] = []
    monkeypatch.setattr(type(source), "prefetch", lambda _, keys, __: (asked.extend(keys), nullcontext())[1])
    tg.plan(Fused(), source, example=IDS).apply()
    assert set(asked) == set(source)


def test_a_checkpoint_that_changed_since_is_refused_and_the_model_untouched():
    source, target = Split().state_dict(), Fused()
    plan = tg.plan(target, source, example=IDS)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(tg.CheckpointError):
        plan.bind(target, {name: t for name, t in source.items() if not name.startswith("v_proj")}).apply()
    smaller = source | {"k_proj.weight": torch.zeros(4, WIDTH)}
    with pytest.raises(tg.TorchgraftError):
        plan.bind(target, smaller).apply()
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_turned_ones_hold_the_transposed_values():
    source = Split()
    turned = {
        name: tensor.T.contiguous() if tensor.ndim == 2 and name != "tokens.weight" else tensor
        for name, tensor in source.state_dict().items()
    }
    target = Split()
    plan = tg.plan(target, turned)
    plan.apply()
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in target.state_dict().items())
    assert {entry.name: entry.ops for entry in plan}["mlp.up.weight"] == (Permuted((1, 0)),)


def test_turned_and_fused_at_once():
    """GPT-2's own form: (inputs, outputs), three in one."""
    source, target = Fused(), Split()
    turned = {
        name: tensor.T.contiguous() if tensor.ndim == 2 and name != "wte.weight" else tensor
        for name, tensor in source.state_dict().items()
    }
    plan = tg.plan(target, turned, example=IDS)
    plan.apply()
    assert {entry.name: entry.ops for entry in plan}["q_proj.weight"] == (Permuted((1, 0)), Block(0, 8, 24))
    for layer, rows in zip(
        (target.q_proj, target.k_proj, target.v_proj), source.att["qkv"].weight.chunk(3), strict=True
    ):
        assert torch.equal(layer.weight, rows)
