"""Parts put together again: whole where nothing changed, joined where they come from several tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torchgraft.adapting import Block, Permuted, Reshaped
from torchgraft.matching.folding import folded, whole_pair
from torchgraft.matching.fused import parts
from torchgraft.matching.pieces import pieces_of


@pytest.fixture
def pieces(net):
    return lambda text: parts(pieces_of(net(text)), [], {})


def linked(ours, theirs):
    return [(one, other, "why") for one, other in zip(ours, theirs, strict=True)]


def test_fused_on_both_sides_is_one_whole_tensor(pieces):
    theirs = pieces("b.qkv:12,4")
    (pair,) = folded(linked(pieces("l.0.att.in_proj_weight!:12,4"), theirs), theirs)
    assert (pair.source, pair.target, pair.ops, pair.joined) == (
        "l.0.att.in_proj_weight",
        "b.qkv.weight",
        (),
        (),
    )


def test_parts_in_another_order_are_joined_in_the_targets(pieces):
    theirs, ours = pieces("b.qkv:12,4"), pieces("l.qkv:12,4")
    (pair,) = folded(linked([ours[1], ours[0], ours[2]], theirs), theirs)
    assert [part.ops for part in pair.joined] == [(Block(4, 8, 12),), (Block(0, 4, 12),), (Block(8, 12, 12),)]


@pytest.mark.parametrize(("missing", "kept"), [("q", False), ("k", True), ("v", False)])
def test_only_a_keys_bias_may_be_missing(pieces, missing, kept):
    theirs = pieces("b.qkv.bias:12")
    ours = pieces("l.q.bias:4 l.k.bias:4 l.v.bias:4")
    links = [link for link in linked(ours, theirs) if link[1].word != missing]
    pairs = folded(links, theirs)
    assert bool(pairs) == kept
    if kept:
        assert [part.source for part in pairs[0].joined] == ["l.q.bias", None, "l.v.bias"]
        assert pairs[0].joined[1].shape == (4,)
        assert pairs[0].sources == ("l.q.bias", "l.v.bias")


def test_a_keys_weight_may_not_be_missing(pieces):
    theirs = pieces("b.qkv:12,4")
    links = [link for link in linked(pieces("l.q:4,4 l.k:4,4 l.v:4,4"), theirs) if link[1].word != "k"]
    assert folded(links, theirs) == []


def test_steps_that_undo_each_other_are_left_out(net):
    (one,), (other,) = pieces_of(net("a:3,8")), pieces_of(net("x:3,8"))
    turned = [replace(piece, shape=(8, 3), ops=(Permuted((1, 0)),)) for piece in (one, other)]
    assert whole_pair(*turned, "why").ops == ()
    assert whole_pair(turned[0], other, "why").ops == (Permuted((1, 0)),)
    flat = replace(other, ops=(Reshaped((3, 8), (24,)),))
    assert whole_pair(one, flat, "why").ops == (Reshaped((24,), (3, 8)),)
