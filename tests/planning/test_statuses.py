"""One status a tensor, each with its reason, on both sides; and a dry run that changes nothing."""

from __future__ import annotations

import pytest
import torch

import torchgraft as tg


def without(state, *names):
    return {key: value for key, value in state.items() if key not in names}


def test_exact_names_are_load_state_dict(net, assert_same_values):
    ours, theirs, source = net(1), net(1), net(2)
    plan = tg.plan(ours, source)
    report = plan.apply()
    theirs.load_state_dict(source.state_dict())
    assert_same_values(ours, theirs)
    assert plan.counts == {"loaded": 13, "adapted": 0, "fresh": 0, "used": 13, "unused": 0}
    assert (plan.match, plan.coverage, plan.undeclared, plan.notes) == ("exact names", 1.0, (), ())
    assert [entry.name for entry in plan] == list(source.state_dict())
    assert (report.model, report.plan) == (ours, plan)
    assert str(report).startswith(plan.summary)


@pytest.mark.parametrize(
    ("change", "name", "status", "why"),
    [
        (lambda s: s, "stem.weight", "loaded", "same name"),
        (lambda s: without(s, "stem.bias"), "stem.bias", "fresh", "not in the checkpoint"),
        (
            lambda s: without(s, "norm.num_batches_tracked"),
            "norm.num_batches_tracked",
            "fresh",
            "not in the checkpoint; the model computes its own",
        ),
        (
            lambda s: {**s, "head.bias": torch.zeros(9), "head.weight": torch.zeros(9, 6)},
            "head.weight",
            "fresh",
            "5 classes here, 9 in the checkpoint, no labels to carry rows by",
        ),
        (
            lambda s: {**s, "stem.weight": torch.zeros(4, 1, 3, 3)},
            "stem.weight",
            "adapted",
            "input channels 1→3, repeat",
        ),
        (
            lambda s: {**s, "body.0.weight": torch.zeros(4, 4, 5, 5)},
            "body.0.weight",
            "fresh",
            "no rule turns shape [4, 4, 5, 5] into [4, 4, 3, 3] in a body tensor",
        ),
        (
            lambda s: {**s, "body.0.weight": torch.zeros(4, 2, 3, 3)},
            "body.0.weight",
            "fresh",
            "no rule turns shape [4, 2, 3, 3] into [4, 4, 3, 3] in a body tensor; "
            "other input channels are a stem's: if this is the first layer, name it with stem=",
        ),
        (
            lambda s: {**s, "head.weight": s["head.weight"][..., None, None]},
            "head.weight",
            "adapted",
            "1x1 convolution → Linear",
        ),
        (
            lambda s: {**s, "head.weight": s["head.weight"].half()},
            "head.weight",
            "loaded",
            "same name; float16 → float32",
        ),
        (
            lambda s: {**s, "stem.weight": s["stem.weight"][:, :1].bfloat16()},
            "stem.weight",
            "adapted",
            "input channels 1→3, repeat; bfloat16 → float32",
        ),
    ],
)
def test_a_tensor_of_the_model(net, change, name, status, why):
    entry = {entry.name: entry for entry in tg.plan(net(), change(net(1).state_dict()))}[name]
    assert (entry.status, entry.why) == (status, why)


@pytest.mark.parametrize(
    ("name", "tensor", "status", "why"),
    [
        ("stem.weight", None, "used", "goes to stem.weight"),
        ("extra.weight", torch.zeros(2), "unused", "the model has no place for it"),
        (
            "head.bias",
            torch.zeros(9),
            "unused",
            "5 classes here, 9 in the checkpoint, no labels to carry rows by",
        ),
        ("body.0.weight", torch.zeros(4, 4, 5, 5), "unused", "shape [4, 4, 5, 5] does not fit [4, 4, 3, 3]"),
        (
            "stem.bias",
            torch.zeros(4, dtype=torch.int8),
            "unused",
            "int8 there, float32 here: not the same kind of number, and no scales stand beside it",
        ),
    ],
)
def test_a_tensor_of_the_checkpoint(net, name, tensor, status, why):
    state = net(1).state_dict()
    if tensor is not None:
        state[name] = tensor
    plan = tg.plan(net(), state)
    entry = {entry.name: entry for entry in plan.sources}[name]
    assert (entry.status, entry.why, entry.shape) == (status, why, tuple(state[name].shape))
    assert [entry.name for entry in plan.sources] == list(state)


def test_roles_are_known_once_they_matter(net):
    state = net(1).state_dict()
    assert {entry.role for entry in tg.plan(net(), state)} == {"body"}
    roles = {entry.name: entry.role for entry in tg.plan(net(classes=2), state)}
    assert {name for name, role in roles.items() if role == "head"} == {"head.weight", "head.bias"}
    assert {name for name, role in roles.items() if role == "stem"} == {"stem.weight", "stem.bias"}


def test_coverage_counts_elements_not_tensors(net):
    model = net(classes=2)
    plan = tg.plan(model, net(1))
    total = sum(tensor.numel() for tensor in model.state_dict().values())
    assert plan.coverage == pytest.approx((total - 6 * 2 - 2) / total)
    assert plan.counts == {"loaded": 11, "adapted": 0, "fresh": 2, "used": 11, "unused": 2}


@pytest.mark.parametrize("sizes", [{}, {"classes": 2}, {"channels": 4}])
def test_a_plan_changes_nothing(net, snapshot, sizes):
    model, source = net(**sizes).train(), net(1)
    before, given, random = snapshot(model), snapshot(source), torch.get_rng_state()
    tg.plan(model, source)
    assert (snapshot(model), snapshot(source)) == (before, given)
    assert torch.equal(torch.get_rng_state(), random)


def test_it_prints_what_is_not_as_it_was(net):
    state = {**net(1, classes=9).state_dict(), "extra.weight": torch.zeros(2)}
    del state["stem.bias"]
    assert str(tg.plan(net(), state)) == (
        "Net ← weights in memory\n"
        "  matched by exact names\n"
        "  10 loaded, 0 adapted, 3 fresh of 13 tensors (88.6% of the elements); "
        "3 of the checkpoint's 13 unused\n"
        "  fresh: stem.bias [4]: not in the checkpoint\n"
        "  fresh: head.weight [5, 6]: 5 classes here, 9 in the checkpoint, no labels to carry rows by\n"
        "  fresh: head.bias [5]: 5 classes here, 9 in the checkpoint, no labels to carry rows by\n"
        "  unused: head.weight: 5 classes here, 9 in the checkpoint, no labels to carry rows by\n"
        "  unused: head.bias: 5 classes here, 9 in the checkpoint, no labels to carry rows by\n"
        "  unused: extra.weight: the model has no place for it\n"
        "  refused: 1 fresh tensor is not declared"
    )


def test_it_prints_that_it_is_ready(net):
    plan = tg.plan(net(), net(1))
    assert plan.summary == ("13 loaded, 0 adapted, 0 fresh of 13 tensors (100.0% of the elements); all used")
    assert str(plan).splitlines()[-1] == "  ready to apply"
