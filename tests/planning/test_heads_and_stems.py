"""Labels carry a head's rows, `in_mode` fills a stem; both are what one would write by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models import adapt_input_conv
from torch import nn

import torchgraft as tg


def entry(plan, name):
    return next(entry for entry in plan if entry.name == name)


def small(classes):
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, classes))


@settings(max_examples=40, deadline=None)
@given(
    theirs=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True),
    ours=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True),
)
def test_rows_follow_their_labels(theirs, ours):
    model, source = small(len(ours)), small(len(theirs))
    old = model[2].weight.detach().clone(), model[2].bias.detach().clone()
    plan = tg.plan(model, source, source_labels=theirs, labels=ours)
    if not set(ours) & set(theirs):
        assert {e.name for e in plan.undeclared} == {"2.weight", "2.bias"}
        assert "none of the" in entry(plan, "2.weight").why
        return
    plan.apply()
    for index, label in enumerate(ours):
        there = theirs.index(label) if label in theirs else None
        weight, bias = (
            (old[0][index], old[1][index])
            if there is None
            else (source[2].weight[there], source[2].bias[there])
        )
        assert torch.equal(model[2].weight[index], weight)
        assert torch.equal(model[2].bias[index], bias)
    assert torch.equal(model[0].weight, source[0].weight)
    assert entry(plan, "2.bias").status == ("loaded" if ours == theirs else "adapted")


def test_it_says_how_many_rows_were_carried():
    plan = tg.plan(
        small(3), small(4), source_labels=["cat", "dog", "cow", "hen"], labels=["Dog", "emu", "hen"]
    )
    assert entry(plan, "2.weight").why == "rows 4→3 by class, 2 carried, 1 fresh"
    assert plan.undeclared == ()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (["a", "a"], "classes 0 and 1 have the same name"),
        (["a", "b", "c"], "3 and 3 class names don't fit a head of 3 and 2 rows"),
    ],
)
def test_labels_that_dont_fit_are_refused(labels, why):
    plan = tg.plan(small(2), small(3), source_labels=["a", "b", "c"] if len(labels) == 2 else labels[::-1],
                   labels=labels)  # fmt: skip
    assert why in entry(plan, "2.weight").why
    with pytest.raises(tg.CoverageError, match=why[:20]):
        plan.apply()


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_repeat_is_timms(net, channels):
    model, source = net(channels=channels), net(1)
    tg.graft(model, source)
    wanted = adapt_input_conv(channels, source.stem.weight.detach())
    assert torch.equal(model.stem.weight, wanted)
    assert torch.equal(model.stem.bias, source.stem.bias)


@pytest.mark.parametrize(
    ("mode", "channels", "by_hand"),
    [
        ("sum", 2, lambda w: (w.sum(1, keepdim=True) / 2).expand(-1, 2, -1, -1)),
        ("zeros", 4, lambda w: torch.cat([w, torch.zeros_like(w[:, :1])], 1)),
        ("mean", 4, lambda w: torch.cat([w, w.mean(1, keepdim=True)], 1) * (3 / 4)),
        ([2, 1, 0, "mean"], 4, lambda w: torch.cat([w.flip(1), w.mean(1, keepdim=True)], 1)),
        ([1], 1, lambda w: w[:, 1:2]),
    ],
)
def test_in_mode(net, mode, channels, by_hand):
    model, source = net(channels=channels), net(1)
    plan = tg.graft(model, source, in_mode=mode).plan
    torch.testing.assert_close(model.stem.weight, by_hand(source.stem.weight), rtol=1e-6, atol=1e-7)
    assert entry(plan, "stem.weight").status == "adapted"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_map_puts_channels_in_another_order_though_their_number_is_the_same(net, order):
    """BGR weights into an RGB model: the shapes agree, and yet it is not the same tensor."""
    model, source = net(), net(1)
    plan = tg.graft(model, source, in_mode=order).plan
    assert torch.equal(model.stem.weight, source.stem.weight[:, list(order)])
    assert torch.equal(model.body[0].weight, source.body[0].weight)
    status = "loaded" if order == (0, 1, 2) else "adapted"
    assert {e.name for e in plan if e.status == "adapted"} == (
        {"stem.weight"} if status == "adapted" else set()
    )


def test_a_map_of_another_length_is_refused(net):
    plan = tg.plan(net(), net(1), in_mode=[0, 1])
    assert [e.name for e in plan.undeclared] == ["stem.weight"]
    assert "the map has 2 entries" in entry(plan, "stem.weight").why


def test_a_grouped_stem_is_refused_not_filled_wrongly():
    """Of a grouped convolution's weight the second dimension is not the input channels."""

    def build(channels):
        return nn.Sequential(nn.Conv2d(channels, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 1))

    plan = tg.plan(build(8), build(4))
    assert [e.name for e in plan.undeclared] == ["0.weight"]
    assert "2 groups" in entry(plan, "0.weight").why
    assert tg.plan(build(8), build(4), allow_fresh="stem").undeclared == ()


def test_head_and_stem_at_once(net):
    model, source = net(classes=2, channels=4), net(1)
    plan = tg.graft(model, source, in_mode="zeros", source_labels=list("abcde"), labels=list("eb")).plan
    assert torch.equal(model.head.weight, source.head.weight[[4, 1]])
    assert torch.equal(model.stem.weight[:, :3], source.stem.weight)
    assert {e.name: e.role for e in plan if e.status == "adapted"} == {
        "stem.weight": "stem",
        "head.weight": "head",
        "head.bias": "head",
    }


def test_fresh_rows_are_not_rounded_to_the_files_precision():
    model, source = small(2), small(2).half()
    kept = model[2].weight[1].detach().clone()
    tg.graft(model, source, source_labels=["a", "b"], labels=["b", "new"])
    assert torch.equal(model[2].weight[1], kept)
    assert torch.equal(model[2].weight[0], source[2].weight[1].float())
