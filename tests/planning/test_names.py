"""Names that differ: whatever the rule, the result is `load_state_dict` of the hand-renamed dict."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import torchgraft as tg


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


RULES = [
    ("a dict", lambda k: k.replace("stem.", "first."), {"first": "stem"}),
    ("a dict with dots", lambda k: f"teacher.{k}", {"teacher.": ""}),
    ("two at once", lambda k: k.replace("stem.", "x.").replace("head.", "y."), {"x": "stem", "y": "head"}),
    ("pairs", lambda k: k.replace("body.", "trunk."), [("trunk", "body")]),
    ("texts", lambda k: k.replace("body.", "trunk."), ["trunk=body"]),
    ("a pattern", lambda k: re.sub(r"body\.(\d)", r"layer\1", k), {re.compile(r"layer(\d)"): r"body.\1"}),
    ("a pattern as text", lambda k: re.sub(r"body\.(\d)", r"layer\1", k), [r"re:layer(\d)=body.\1"]),
    ("leaves", lambda k: k.replace(".weight", ".kernel"), {"kernel": "weight"}),
    ("in turn", lambda k: f"a.b.{k}", [("re:^a\\.", ""), ("re:^b\\.", "")]),
]


@pytest.mark.parametrize(("spell", "rename"), [c[1:] for c in RULES], ids=[c[0] for c in RULES])
@pytest.mark.parametrize("match", ["auto", "exact"])
def test_a_rule(net, assert_same_values, spell, rename, match):
    model, twin, source = net(), net(), net(1).state_dict()
    plan = tg.plan(model, {spell(key): value for key, value in source.items()}, rename=rename, match=match)
    plan.apply()
    twin.load_state_dict(source)
    assert_same_values(model, twin)
    assert plan.match == "exact names"
    assert {entry.name: entry.source for entry in plan} == {key: spell(key) for key in source}


PREFIXES = ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net.encoder.", "0."]


@pytest.mark.parametrize("theirs", ["", *PREFIXES])
@pytest.mark.parametrize("ours", ["", *PREFIXES])
def test_prefixes_on_both_sides(net, assert_same_values, ours, theirs):
    inner = net()
    model = inner
    for part in reversed(ours.split(".")[:-1]):
        model = nn.ModuleDict({part: model})
    source = net(1)
    plan = tg.graft(model, prefixed(source.state_dict(), theirs)).plan
    assert_same_values(inner, source)
    assert plan.counts["loaded"] == len(plan.sources) == 13


def test_a_prefix_put_on_by_hand(net, assert_same_values):
    model, source = nn.ModuleDict({"a": net(), "b": net()}), net(1)
    tg.graft(model, source, rename={"": "b."}, allow_fresh="a")
    assert_same_values(model["b"], source)
    assert_same_values(model["a"], net())


@pytest.mark.parametrize("spot", ["stem", "body", "body.0", "head"])
@pytest.mark.parametrize("prefix", ["", "module.", "ema."])
def test_a_compiled_part(net, assert_same_values, spot, prefix):
    source = net(1)
    state = {
        prefix + re.sub(rf"^{re.escape(spot)}\.", rf"{spot}._orig_mod.", key): value
        for key, value in source.state_dict().items()
    }
    model = net()
    tg.graft(model, state)
    assert_same_values(model, source)


def test_into_a_compiled_model(net, assert_same_values):
    source, inner = net(1), net()
    tg.graft(torch.compile(inner), source)
    assert_same_values(inner, source)


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    prefix=st.sampled_from(["", "module.", "a.b.", "_orig_mod."]),
    data=st.data(),
)
def test_any_order_under_any_prefix(widths, prefix, data):
    """The file's order says nothing where names do; what else is in the file does not matter."""

    def build():
        return nn.Sequential(*(nn.Linear(i, o) for i, o in itertools.pairwise(widths)))

    model, twin, source = build(), build(), build().state_dict()
    keys = data.draw(st.permutations(list(source)))
    extra = data.draw(st.lists(st.sampled_from(["zz.gain", "zz.scale"]), max_size=2, unique=True))
    state = {prefix + key: source[key] for key in keys} | {key: torch.zeros(5, 5, 5) for key in extra}
    plan = tg.graft(model, state).plan
    twin.load_state_dict(source)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert {s.name for s in plan.sources if s.status == "unused"} == set(extra)


def test_foreign_names_are_paired_by_structure_and_say_so(net, assert_same_values):
    source = net(1)
    state = {
        key.replace("stem", "c1").replace("norm", "n1").replace("body.", "blk").replace("head", "cls"): value
        for key, value in source.state_dict().items()
    }
    model = net()
    plan = tg.graft(model, state).plan
    assert_same_values(model, source)
    assert "structure" in plan.match
    assert all("same name" not in entry.why for entry in plan)


def test_a_tie_is_refused_and_its_hint_settles_it(net, snapshot, assert_same_values):
    one, two = net(1), net(2)
    state = prefixed(one.state_dict(), "left.") | prefixed(two.state_dict(), "right.")
    model = net()
    before = snapshot(model)
    with pytest.raises(tg.AmbiguousMatchError) as caught:
        tg.graft(model, state)
    assert snapshot(model) == before
    assert "left." in caught.value.what
    assert "right." in caught.value.what
    tg.graft(model, state, rename={"right.": ""})
    assert_same_values(model, two)


def test_a_rule_that_does_nothing_is_noted(net):
    plan = tg.plan(net(), net(1), rename={"nowhere.": ""})
    assert plan.notes == ("the rename rule 'nowhere' changed no name",)
    assert "  note: the rename rule 'nowhere' changed no name" in str(plan).splitlines()


@pytest.mark.parametrize(
    ("rename", "what"),
    [
        ({"stem": "head"}, "'stem.weight' and 'head.weight' the same name 'head.weight'"),
        (["nonsense"], "can't be read"),
        (["re:(=x"], "not a regular expression"),
    ],
)
def test_a_rule_that_cant_be_used(net, snapshot, rename, what):
    model = net()
    before = snapshot(model)
    with pytest.raises(tg.MatchError) as caught:
        tg.graft(model, net(1), rename=rename)
    assert what in caught.value.what
    assert snapshot(model) == before
