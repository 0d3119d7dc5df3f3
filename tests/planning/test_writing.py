"""How values get into a model: the tensors stay the ones they were; on the meta device they are made."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import torchgraft as tg


def test_parameters_stay_the_ones_that_the_optimizer_knows(net):
    model = net().train()
    model.stem.weight.requires_grad_(False)
    kept = list(model.parameters()), list(model.buffers())
    flags = [parameter.requires_grad for parameter in model.parameters()]
    tg.graft(model, net(1))
    for before, now in zip(kept, (list(model.parameters()), list(model.buffers())), strict=True):
        assert all(a is b for a, b in zip(before, now, strict=True))
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.is_leaf and parameter.grad is None for parameter in model.parameters())
    assert model.training


@pytest.mark.parametrize("ours", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("theirs", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_models_dtype_stays(net, ours, theirs, assert_same_values):
    model, twin, source = net().to(ours), net().to(ours), net(1).to(theirs)
    plan = tg.graft(model, source).plan
    twin.load_state_dict(source.state_dict())
    assert_same_values(model, twin)
    assert {parameter.dtype for parameter in model.parameters()} == {ours}
    cast = f"same name; {theirs} → {ours}".replace("torch.", "")
    assert {e.name: e.why for e in plan}["head.bias"] == ("same name" if ours == theirs else cast)


def test_the_layout_in_memory_stays(net, assert_same_values):
    model, source = net().to(memory_format=torch.channels_last), net(1)
    stride = model.body[0].weight.stride()
    tg.graft(model, source)
    assert model.body[0].weight.stride() == stride != source.body[0].weight.stride()
    assert_same_values(model, source)


def test_a_transposed_source(net, assert_same_values):
    source = net(1)
    turned = {
        key: t.transpose(0, -1).contiguous().transpose(0, -1) if t.ndim > 1 else t
        for key, t in source.state_dict().items()
    }
    model = net()
    tg.graft(model, turned)
    assert_same_values(model, source)


def test_the_source_is_neither_changed_nor_shared(net, snapshot):
    model, source = net(), net(1)
    before = snapshot(source)
    tg.graft(model, source)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    assert snapshot(source) == before


def test_the_models_own_weights_under_swapped_names():
    """Source and target share memory: each must be read before the other is written."""
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    old = copy.deepcopy(model)
    tg.graft(model, model, rename={"a": "b", "b": "a"})
    assert torch.equal(model["a"].weight, old["b"].weight)
    assert torch.equal(model["b"].weight, old["a"].weight)
    assert torch.equal(model["a"].bias, old["b"].bias)


class TestMeta:
    def test_is_filled(self, net, assert_same_values):
        with torch.device("meta"):
            model = type(net())()
        model.stem.weight.requires_grad_(False)
        source = net(1)
        tg.graft(model, source)
        assert_same_values(model, source)
        assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 9
        assert all(isinstance(parameter, nn.Parameter) for parameter in model.parameters())
        with torch.no_grad():
            x = torch.rand(1, 3, 8, 8)
            assert torch.equal(model.eval()(x), source(x))

    def test_owns_its_memory(self, net, snapshot):
        source = net(1)
        before = snapshot(source)
        with torch.device("meta"):
            model = type(net())()
        tg.graft(model, source)
        nn.init.zeros_(model.stem.weight)
        model.norm.running_mean.zero_()
        assert snapshot(source) == before

    def test_does_not_take_over_the_sources_layout(self, net, assert_same_values):
        with torch.device("meta"):
            model = type(net())()
        source = net(1).to(memory_format=torch.channels_last)
        assert not source.body[0].weight.is_contiguous()
        tg.graft(model, source)
        assert all(parameter.is_contiguous() for parameter in model.parameters())
        assert_same_values(model, source)

    def test_keeps_its_dtype_and_adapts(self, net):
        with torch.device("meta"):
            model = type(net())(channels=4).to(torch.bfloat16)
        source = net(1)
        tg.graft(model, source, in_mode="zeros")
        assert torch.equal(model.stem.weight[:, :3], source.stem.weight.bfloat16())
        assert not model.stem.weight[:, 3].any()
        assert model.norm.num_batches_tracked.dtype == torch.int64

    def test_a_partly_built_model(self, net, assert_same_values):
        model, source = net(), net(1)
        kept = model.stem.weight
        model.body.to("meta")
        tg.graft(model, source)
        assert model.stem.weight is kept
        assert_same_values(model, source)

    def test_a_recurrent_layer_sees_its_new_weights(self):
        source = nn.LSTM(3, 4)
        with torch.device("meta"):
            model = nn.LSTM(3, 4)
        tg.graft(model, source)
        x = torch.rand(5, 2, 3)
        assert torch.equal(model(x)[0], source(x)[0])

    def test_one_tensor_under_two_names_stays_one(self):
        class Tied(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = nn.Parameter(torch.rand(3))
                self.second = self.first
                self.layer = nn.Linear(3, 3)
                self.twin = nn.Linear(3, 3)
                self.twin.weight = self.layer.weight

        with torch.device("meta"):
            model = Tied()
        source = Tied()
        tg.graft(model, source)
        assert model.first is model.second
        assert model.layer.weight is model.twin.weight
        assert torch.equal(model.second, source.second)
        assert not any(parameter.is_meta for parameter in model.parameters())

    @pytest.mark.parametrize(
        ("arguments", "where"),
        [
            ({"allow_fresh": "head"}, "head.weight"),
            ({"source_labels": list("abcde"), "labels": list("abcdx")}, "head.weight"),
        ],
    )
    def test_has_nothing_to_keep(self, net, snapshot, arguments, where):
        with torch.device("meta"):
            model = type(net())()
        before = snapshot(model)
        state = net(1).state_dict()
        if "allow_fresh" in arguments:
            del state["head.weight"], state["head.bias"]
        with pytest.raises(tg.ModelError, match="no values to keep") as caught:
            tg.graft(model, state, **arguments)
        assert caught.value.where == where
        assert snapshot(model) == before

    def test_a_buffer_that_no_checkpoint_holds(self, net, snapshot):
        """It would stay without values, and nobody would see it before the first batch."""
        with torch.device("meta"):
            model = type(net())()
            model.register_buffer("table", torch.rand(3), persistent=False)
        before = snapshot(model)
        with pytest.raises(tg.ModelError, match="not in the model's state dict") as caught:
            tg.graft(model, net(1))
        assert caught.value.where == "table"
        assert snapshot(model) == before
