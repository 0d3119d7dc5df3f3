"""Names explain a part: the rest by structure if it agrees, and only then."""

from __future__ import annotations

from torchgraft.matching import match

SAME = " ".join(f"l.{i}:8,{9 + i}" for i in range(6))


def spelled(found):
    return {pair.target.removesuffix(".weight"): pair.source.removesuffix(".weight") for pair in found.pairs}


def test_what_shapes_tell_is_added(net):
    found = match(net(f"{SAME} p:3,4 q:5,6 r:7,2"), net(f"{SAME} x:5,6 y:7,2 z:3,4"))
    assert spelled(found).items() >= {"x": "q", "y": "r", "z": "p"}.items()
    assert found.how.endswith("the rest by structure")


def test_what_is_tied_stays_open_with_a_note(net):
    found = match(net(f"{SAME} p:3,4 q:3,4"), net(f"{SAME} x:3,4 y:3,4"))
    assert found.unmatched_targets == ("x.weight", "y.weight")
    assert any("tied" in note for note in found.notes)


def test_structure_that_contradicts_names_is_not_asked(net):
    """By number `l.0` and `l.1` could be exchanged for others; names are surer."""
    found = match(net("l.0:8,8 l.1:8,8 l.2:8,8 a:3,4"), net("l.1:8,8 l.0:8,8 l.2:8,8 x:3,4"))
    assert spelled(found).items() >= {"l.0": "l.0", "l.1": "l.1", "l.2": "l.2"}.items()


LONG = " ".join(f"l.{i}:8,{9 + i}" for i in range(30))


def test_the_last_layer_left_on_both_sides_is_the_head(net, chain):
    run = chain(" ".join([*(f"l.{i}.weight" for i in range(30)), "head.weight"]))
    found = match(net(f"{LONG} fc:10,8"), net(f"{LONG} head:10,8"), flow_of=run)
    assert spelled(found)["head"] == "fc"


def test_one_that_is_used_earlier_is_not(net, chain):
    run = chain(" ".join(["head.weight", *(f"l.{i}.weight" for i in range(30))]))
    found = match(net(f"{LONG} fc:10,8"), net(f"{LONG} head:10,8"), flow_of=run)
    assert found.unmatched_targets == ("head.weight",)


def test_a_head_of_another_shape_is_not(net, chain):
    run = chain(" ".join([*(f"l.{i}.weight" for i in range(30)), "head.weight"]))
    found = match(net(f"{LONG} fc:10,7"), net(f"{LONG} head:10,8"), flow_of=run)
    assert found.unmatched_targets == ("head.weight",)
