"""The gate: what may stay fresh is what was declared, and a changed class count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchgraft as tg

HEAD = ["head.weight", "head.bias"]
STEM = ["stem.weight", "stem.bias"]


@pytest.fixture
def lacking(net):
    """A checkpoint without the tensors under these names."""

    def build(*prefixes: str) -> dict[str, torch.Tensor]:
        state = net(1).state_dict()
        return {key: value for key, value in state.items() if not key.startswith(prefixes)}

    return build


REFUSED = [
    (("stem.",), (), STEM),
    (("head.",), (), HEAD),
    (("head.",), "stem", HEAD),
    (("stem.", "head."), "head", STEM),
    (("stem.", "head."), "stem", HEAD),
    (("body.", "head."), "head", ["body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]),
    (("body.2", "head."), ["head", "body.2.weight"], ["body.2.bias"]),
    (("body.",), "body.2", ["body.0.weight", "body.0.bias"]),
    (("body.2",), "body.22", ["body.2.weight", "body.2.bias"]),
    (("body.2",), "bod", ["body.2.weight", "body.2.bias"]),
    (("norm.running_mean",), "head", ["norm.running_mean"]),
    (("head.",), "HEAD", HEAD),
]


@pytest.mark.parametrize(("prefixes", "declared", "refused"), REFUSED)
def test_refused_and_untouched(net, lacking, snapshot, prefixes, declared, refused):
    model = net()
    before = snapshot(model)
    plan = tg.plan(model, lacking(*prefixes), allow_fresh=declared)
    assert [entry.name for entry in plan.undeclared] == refused
    with pytest.raises(tg.CoverageError) as caught:
        plan.apply()
    assert snapshot(model) == before
    for name in refused:
        assert f"{name} {list(model.state_dict()[name].shape)}: not in the checkpoint" in caught.value.what
    assert f"{len(refused)} of the model's 13 tensors" in caught.value.what
    assert caught.value.where == "Net ← weights in memory"


ALLOWED = [
    (("head.",), "head"),
    (("stem.",), ["stem"]),
    (("stem.", "head."), ["stem", "head"]),
    (("body.",), "body"),
    (("body.2",), "body.2"),
    (("body.2", "head."), ["body.2.*", "head"]),
    (("body.",), "body.*.*"),
    (("stem.bias", "head.bias", "norm.bias", "body.0.bias", "body.2.bias"), "*.bias"),
    (("norm.num_batches",), ()),
]


@pytest.mark.parametrize(("prefixes", "declared"), ALLOWED)
def test_allowed_stays_as_it_was_and_the_rest_is_loaded(net, lacking, prefixes, declared):
    model, source, old = net(), lacking(*prefixes), net().state_dict()
    tg.graft(model, source, allow_fresh=declared)
    for key, value in model.state_dict().items():
        assert torch.equal(value, old[key] if key.startswith(prefixes) else source[key]), key


def test_the_error_says_what_would_let_it_pass(net, lacking):
    for prefixes in [("head.",), ("stem.",), ("stem.", "head."), ("body.2",), ("body.2", "head.")]:
        with pytest.raises(tg.CoverageError) as caught:
            tg.graft(net(), lacking(*prefixes))
        hint = caught.value.hint or ""
        declared = eval(hint.split("allow_fresh=")[1].split(";")[0])
        tg.graft(net(), lacking(*prefixes), allow_fresh=declared)


def test_many_are_cut_short():
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(20)))
    with pytest.raises(tg.CoverageError, match="… and 10 more") as caught:
        tg.graft(model, {k: v for k, v in model.state_dict().items() if int(k.split(".")[0]) > 8})
    assert caught.value.what.count("not in the checkpoint") == 8


@pytest.mark.parametrize("classes", [1, 2, 9])
def test_a_changed_class_count_needs_no_declaration(net, classes):
    model = net(classes=classes)
    old, source = net(classes=classes).state_dict(), net(1).state_dict()
    tg.graft(model, source)
    for key, value in model.state_dict().items():
        assert torch.equal(value, old[key] if key in HEAD else source[key]), key


def test_but_a_missing_tensor_beside_it_does(net, lacking):
    plan = tg.plan(net(classes=2), lacking("body.0.bias"))
    assert [entry.name for entry in plan.undeclared] == ["body.0.bias"]


def test_nor_does_a_head_of_other_features_pass_as_a_class_count(net):
    state = {**net(1).state_dict(), "head.weight": torch.zeros(5, 7)}
    assert [entry.name for entry in tg.plan(net(), state).undeclared] == ["head.weight"]
    assert tg.plan(net(), state, allow_fresh="head").undeclared == ()


def test_a_head_that_is_named_by_hand(net):
    """A model that can't be run without an example: the class count is known only with `head=`."""

    class Picky(type(net())):
        def forward(self, x: torch.Tensor, *, flag: int) -> torch.Tensor:
            return super().forward(x)

    with pytest.raises(tg.CoverageError, match="stem and head are unknown") as caught:
        tg.graft(Picky(classes=2), net(1))
    assert "name it with head=" in caught.value.what
    plan = tg.plan(Picky(classes=2), net(1), head="head", stem="stem")
    assert plan.undeclared == ()
    plan = tg.plan(Picky(classes=2), net(1), example={"x": torch.rand(1, 3, 8, 8), "flag": 1})
    assert plan.undeclared == ()


def test_a_head_that_does_not_exist_is_an_error_not_a_note(net):
    with pytest.raises(tg.AnatomyError, match="no module 'haed'") as caught:
        tg.plan(net(classes=2), net(1), head="haed")
    assert "head" in (caught.value.hint or "")


@pytest.mark.parametrize("allow", ["head", "2.*", "2"])
def test_numbers_of_another_kind_may_stay_out_where_declared(allow):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    state = model.state_dict()
    state["2.weight"] = state["2.weight"].to(torch.int8)
    with pytest.raises(tg.CoverageError, match="int8 there, float32 here"):
        tg.graft(model, state)
    assert tg.graft(model, state, allow_fresh=allow).plan.counts["fresh"] == 1
