"""Buffers, and numbers of other kinds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchgraft as tg


class Tables(nn.Module):
    """Buffers of every sort beside one layer."""

    def __init__(self, size: int = 4, *, scaled: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("index", torch.arange(size))
        self.register_buffer("mask", torch.ones(size, dtype=torch.bool))
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * self.scale)


FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTS = [torch.int8, torch.uint8, torch.int32, torch.int64]


def one(dtype):
    """A module with one tensor of that dtype beside a layer."""
    module = nn.Linear(3, 2)
    value = torch.zeros(4, dtype=dtype)
    if dtype.is_floating_point or dtype.is_complex:
        module.extra = nn.Parameter(value)
    else:
        module.register_buffer("extra", value)
    return module


@pytest.mark.parametrize(
    ("ours", "theirs", "taken"),
    [
        *((a, b, True) for a in FLOATS for b in FLOATS),
        *((a, b, True) for a in INTS for b in INTS),
        *((a, b, False) for a in FLOATS for b in [*INTS, torch.bool, torch.complex64]),
        *((a, b, False) for a in INTS for b in [*FLOATS, torch.bool]),
        (torch.bool, torch.bool, True),
        (torch.bool, torch.uint8, False),
        (torch.bool, torch.float32, False),
        (torch.complex64, torch.complex128, True),
        (torch.complex64, torch.float32, False),
    ],
)
def test_only_the_same_kind_of_number_is_cast(ours, theirs, taken):
    model, source = one(ours), one(theirs).state_dict()
    source["extra"] = torch.ones(4, dtype=theirs)
    plan = tg.plan(model, source)
    entry = {entry.name: entry for entry in plan}["extra"]
    assert (entry.status == "loaded") is taken
    # what is no parameter and no float the model computes by itself: it may stay
    assert bool(plan.undeclared) is (not taken and (ours.is_floating_point or ours.is_complex))
    if taken:
        plan.apply()
        assert torch.equal(model.extra, torch.ones(4, dtype=ours))
    else:
        assert "not the same kind of number" in entry.why


@pytest.mark.parametrize(
    ("change", "name", "why"),
    [
        (lambda s: s.pop("index"), "index", "not in the checkpoint; the model computes its own"),
        (lambda s: s.pop("mask"), "mask", "not in the checkpoint; the model computes its own"),
        (
            lambda s: s.update(index=torch.arange(9)),
            "index",
            "shape [9] in the checkpoint; the model computes its own",
        ),
        (
            lambda s: s.update(mask=torch.ones(4, dtype=torch.uint8)),
            "mask",
            "uint8 there, bool here: not the same kind of number; the model computes its own",
        ),
    ],
)
def test_a_table_that_the_model_computes_may_stay(change, name, why):
    model, state = Tables(), Tables().state_dict()
    change(state)
    plan = tg.graft(model, state).plan
    entry = {entry.name: entry for entry in plan}[name]
    assert (entry.status, entry.why, entry.declared, entry.buffer) == ("fresh", why, True, True)
    assert torch.equal(getattr(model, name), getattr(Tables(), name))


def test_a_buffer_of_floats_may_not():
    state = Tables().state_dict()
    del state["scale"]
    with pytest.raises(tg.CoverageError, match=r"scale \[3\]: not in the checkpoint"):
        tg.graft(Tables(), state)


def test_tables_are_loaded_where_they_fit():
    state = Tables().state_dict()
    state.update(index=torch.tensor([3, 1, 2, 0]), mask=torch.zeros(4, dtype=torch.bool))
    model = Tables()
    tg.graft(model, state)
    assert model.index.tolist() == [3, 1, 2, 0]
    assert not model.mask.any()


def test_what_the_state_dict_leaves_out_is_no_target():
    model, source = Tables(), Tables()
    source.hidden.fill_(9)
    assert "hidden" not in {entry.name for entry in tg.graft(model, source).plan}
    assert not model.hidden.any()


def test_a_checkpoint_that_was_halved_whole(net, assert_same_values):
    """Everybody writes `{k: v.half() for …}`, which makes a float of the batch counter."""
    model, twin = net(), net()
    halved = {key: value.half() for key, value in net(1).state_dict().items()}
    plan = tg.graft(model, halved).plan
    assert [entry.name for entry in plan if entry.status == "fresh"] == ["norm.num_batches_tracked"]
    twin.load_state_dict({**halved, "norm.num_batches_tracked": twin.norm.num_batches_tracked})
    assert_same_values(model, twin)


def test_the_batch_counter_is_loaded(net):
    model = net()
    tg.graft(model, net(3))
    assert model.norm.num_batches_tracked.item() == 10


@pytest.mark.parametrize("counted", ["ours", "theirs"])
def test_a_counter_that_only_one_side_has(net, counted):
    model, state = net(), net(1).state_dict()
    if counted == "ours":
        del state["norm.num_batches_tracked"]
    else:
        model.norm.num_batches_tracked = None
    plan = tg.graft(model, state).plan
    assert plan.counts["fresh" if counted == "ours" else "unused"] == 1
    assert torch.equal(model.norm.running_mean, state["norm.running_mean"])
