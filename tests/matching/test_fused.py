"""Fused weights: their parts by name, whatever the order; refused where no name says which is which."""

from __future__ import annotations

import pytest

from torchgraft.adapting import Block
from torchgraft.errors import AmbiguousMatchError, MatchError
from torchgraft.matching import match
from torchgraft.matching.fused import parts
from torchgraft.matching.pieces import pieces_of

SPLIT = "emb:7,4 l.0.q_proj:4,4 l.0.k_proj:4,4 l.0.v_proj:4,4 l.0.o:4,4 l.0.up:6,4 h:2,4"
SHUFFLED = "emb:7,4 l.0.k_proj:4,4 l.0.q_proj:4,4 l.0.v_proj:4,4 l.0.o:4,4 l.0.up:6,4 h:2,4"


def rows(matching, target):
    """Which rows of the model's tensor come from where."""
    (pair,) = [pair for pair in matching.pairs if pair.target == target]
    start, found = 0, {}
    for part in pair.joined:
        found[part.source] = (start, start + part.shape[0])
        start += part.shape[0]
    return found


@pytest.mark.parametrize("given", [SPLIT, SHUFFLED])
@pytest.mark.parametrize(
    "fused",
    ["b.0.qkv:12,4", "b.0.in_proj_weight:12,4", "b.0.c_attn:12,4", "b.0.Wqkv:12,4", "b.0.qkv_proj:12,4"],
)
def test_split_into_fused_by_name_not_by_order(net, given, fused):
    target = net(f"wte:7,4 {fused} b.0.out:4,4 b.0.fc:6,4 head:2,4")
    assert rows(match(net(given), target), target[1].name) == {
        "l.0.q_proj.weight": (0, 4),
        "l.0.k_proj.weight": (4, 8),
        "l.0.v_proj.weight": (8, 12),
    }


@pytest.mark.parametrize("given", [SPLIT, SHUFFLED])
def test_fused_into_split(net, given):
    found = match(net("wte:7,4 b.0.qkv:12,4 b.0.out:4,4 b.0.fc:6,4 head:2,4"), net(given))
    ops = {pair.target: pair.ops for pair in found.pairs}
    assert ops["l.0.q_proj.weight"] == (Block(0, 4, 12),)
    assert ops["l.0.k_proj.weight"] == (Block(4, 8, 12),)
    assert ops["l.0.v_proj.weight"] == (Block(8, 12, 12),)


def test_unequal_groups_take_the_sizes_of_the_other_side(net):
    ours = net("emb:7,8 l.0.q_proj:8,8 l.0.k_proj:2,8 l.0.v_proj:2,8 l.0.o:8,8 l.0.up:6,8 h:2,8")
    found = match(ours, net("wte:7,8 b.0.qkv:12,8 b.0.out:8,8 b.0.fc:6,8 head:2,8"))
    assert rows(found, "b.0.qkv.weight") == {
        "l.0.q_proj.weight": (0, 8),
        "l.0.k_proj.weight": (8, 10),
        "l.0.v_proj.weight": (10, 12),
    }


@pytest.mark.parametrize("sizes", [(4, 4), (8, 2)])
def test_query_key_value_is_never_taken_apart_without_a_word_of_the_user(net, sizes):
    """BLOOM's go head by head and ChatGLM's in blocks, under one name; with grouped queries, too."""
    big, small = sizes
    ours = net(
        f"emb:7,8 l.0.query:{big},8 l.0.key:{small},8 l.0.value:{small},8 l.0.o:8,{big} l.0.up:6,8 h:2,8"
    )
    theirs = net(f"wte:7,8 b.0.query_key_value:{big + 2 * small},8 b.0.out:8,{big} b.0.fc:6,8 head:2,8")
    with pytest.raises(AmbiguousMatchError):
        match(ours, theirs)
    with pytest.raises(AmbiguousMatchError):
        match(theirs, ours)


@pytest.mark.parametrize("names", [("gate", "up"), ("up", "gate"), ("w1", "w3")])
def test_gate_and_up_fused_without_words_are_refused(net, names):
    one, other = names
    ours = net(f"emb:7,8 l.0.{one}:6,8 l.0.{other}:6,8 l.0.down:8,6 l.0.o:8,5 l.0.i:5,8 h:2,8")
    theirs = net("wte:7,8 b.0.fc1:12,8 b.0.fc2:8,6 b.0.out:8,5 b.0.in:5,8 head:2,8")
    for sides in ((ours, theirs), (theirs, ours)):
        with pytest.raises(AmbiguousMatchError, match="together") as caught:
            match(*sides)
        assert "fused=" in (caught.value.hint or "")


def test_gate_up_is_spelled_out(net):
    ours = net("emb:7,8 l.0.up_proj:6,8 l.0.gate_proj:6,8 l.0.down:8,6 h:2,8")
    found = match(ours, net("wte:7,8 b.0.gate_up_proj:12,8 b.0.fc2:8,6 head:2,8"))
    assert rows(found, "b.0.gate_up_proj.weight") == {
        "l.0.gate_proj.weight": (0, 6),
        "l.0.up_proj.weight": (6, 12),
    }


def test_what_the_user_says_is_taken(net):
    ours = net("emb:7,8 l.0.gate:6,8 l.0.up:6,8 l.0.down:8,6 h:2,8")
    found = match(ours, net("wte:7,8 b.0.fc1:12,8 b.0.fc2:8,6 head:2,8"), fused={"fc1": "up+gate"})
    assert rows(found, "b.0.fc1.weight") == {"l.0.up.weight": (0, 6), "l.0.gate.weight": (6, 12)}


@pytest.mark.parametrize(
    ("component", "names"),
    [
        ("query_key_value", ["query", "key", "value"]),
        ("attn_qkv", ["attn_q", "attn_k", "attn_v"]),
        ("Wqkv", ["Wq", "Wk", "Wv"]),
        ("qkv_proj", ["q_proj", "k_proj", "v_proj"]),
        ("key_value", ["key", "value"]),
        ("to_kv", ["to_k", "to_v"]),
        ("gate_up_proj", ["gate_proj", "up_proj"]),
        ("c_attn", ["q", "k", "v"]),
        ("qkvx", ["qkvx"]),
        ("mkv", ["mkv"]),
    ],
)
def test_what_a_name_spells(net, component, names):
    found = parts(pieces_of(net(f"b.0.{component}:12,4")), [], {})
    assert [piece.path[-1] for piece in found] == names


def test_rows_that_do_not_divide_stay_whole(net):
    (piece,) = parts(pieces_of(net("b.0.qkv:13,4")), [], {})
    assert (piece.rows, piece.of) == (None, 1)


def test_a_part_that_is_there_beside_the_whole_leaves_it_whole(net):
    found = parts(pieces_of(net("b.qkv:12,4 b.q:4,4")), [], {})
    assert [piece.name for piece in found] == ["b.qkv.weight", "b.q.weight"]


def test_siblings_called_alike_are_refused_against_a_fused_one(net):
    ours = net("emb:7,4 l.0.p0:4,4 l.0.p1:4,4 l.0.p2:4,4 l.0.o:5,4 h:2,5")
    with pytest.raises(MatchError):
        match(ours, net("wte:7,4 b.0.qkv:12,4 b.0.out:5,4 head:2,5"))
