"""What a run of the model may settle. The truth is what the target computes, by hand."""

from __future__ import annotations

import pytest

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching import match


def of(*names):
    return ",".join(f"{name}.weight" for name in names)


PRE = " ".join(
    [
        "wte.weight",
        of("b.n2"),
        of("b.q", "b.k", "b.v"),
        of("b.o"),
        of("b.n1"),
        of("b.up"),
        of("b.down"),
        of("h"),
    ]
)
POST = " ".join(
    [
        "wte.weight",
        of("b.q", "b.k", "b.v"),
        of("b.o"),
        of("b.n2"),
        of("b.up"),
        of("b.down"),
        of("b.n1"),
        of("h"),
    ]
)
MODEL = "wte:9,8 b.q:8,8 b.k:8,8 b.v:8,8 b.o:8,8 b.up:6,8 b.down:8,6 b.n1:8 b.n2:8 h:2,8"
WORDY = (
    "emb:9,8 l.attention.query:8,8 l.attention.key:8,8 l.attention.value:8,8 l.attention.out:8,8 "
    "l.mlp.up:6,8 l.mlp.down:8,6"
)


@pytest.mark.parametrize("seen", [PRE, POST])
@pytest.mark.parametrize("turned", [False, True])
def test_norms_named_after_what_they_stand_beside(net, paired, chain, seen, turned):
    """Numbers mislead, n2 runs first. What the norms stand beside tells, whatever the file's order."""
    norms = ["l.attention_norm:8", "l.mlp_norm:8"]
    ours = net(" ".join([WORDY, *(norms[::-1] if turned else norms), "h:2,8"]))
    found = paired(ours, net(MODEL), flow_of=chain(seen))
    assert found["b.n2.weight"] == ("l.attention_norm.weight",)
    assert found["b.n1.weight"] == ("l.mlp_norm.weight",)


def test_without_a_run_they_are_refused(net):
    with pytest.raises(AmbiguousMatchError, match="norm"):
        match(net(f"{WORDY} l.attention_norm:8 l.mlp_norm:8 h:2,8"), net(MODEL))


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_numbers_against_words_follow_the_order_of_use(net, paired, chain, order):
    ours, theirs = net("s:8,3 l.1:8,8 l.2:8,8 h:2,8"), net("in:8,3 m.left:8,8 m.right:8,8 out:2,8")
    run = chain(" ".join(["in.weight", *(f"m.{name}.weight" for name in order), "out.weight"]))
    found = paired(ours, theirs, flow_of=run)
    assert [found[f"m.{name}.weight"] for name in order] == [("l.1.weight",), ("l.2.weight",)]


def test_siblings_used_side_by_side_stay_refused(net, chain):
    run = chain("in.weight m.left.weight,m.right.weight out.weight")
    with pytest.raises(AmbiguousMatchError):
        match(net("s:8,3 l.a1:8,8 l.b1:8,8 h:2,8"), net("in:8,3 m.left:8,8 m.right:8,8 out:2,8"), flow_of=run)


def test_a_norm_goes_to_the_layer_it_follows_not_to_its_number(net, paired, chain):
    """An MBConv block: bn1 follows the first layer of one kind of block and the second of the other."""
    ours = net("s:8,3,3,3 a.expand:8,8,1,1 a.bn1:8 a.dw:8,1,3,3 a.bn2:8 a.p:5,8,1,1 h:2,5")
    theirs = net(
        "in:8,3,3,3 x.c0.conv:8,8,1,1 x.c0.norm:8 x.c1.conv:8,1,3,3 x.c1.norm:8 x.c2:5,8,1,1 out:2,5"
    )
    run = chain(
        " ".join(
            of(name) for name in ["in", "x.c0.conv", "x.c0.norm", "x.c1.conv", "x.c1.norm", "x.c2", "out"]
        )
    )
    found = paired(ours, theirs, flow_of=run)
    assert found["x.c0.norm.weight"] == ("a.bn1.weight",)
    assert found["x.c1.norm.weight"] == ("a.bn2.weight",)


def test_a_norm_that_two_layers_feed_is_claimed_by_none(net, chain):
    """Two norms of the checkpoint, one of the model's that both layers flow into: nothing is taken twice."""
    ours = net("s:8,3 a.conv:8,8 a.norm:8 b.conv:8,8,3 b.norm:8 h:2,8")
    theirs = net("in:8,3 x.one:8,8 x.two:8,8,3 x.n:8 x.m:8 out:2,8")
    run = chain("in.weight x.one.weight,x.two.weight x.n.weight x.m.weight out.weight")
    try:
        pairs = match(ours, theirs, flow_of=run).pairs
    except AmbiguousMatchError:
        return
    taken = [pair.target for pair in pairs]
    assert len(taken) == len(set(taken))
