"""More or fewer blocks: the first ones are taken where all are alike, and nothing is guessed where not."""

from __future__ import annotations

import pytest

from torchgraft.errors import MatchError
from torchgraft.matching import match


def deep(text, blocks):
    return " ".join(text.replace("#", str(i)) for i in range(blocks))


OURS, THEIRS = "l.#.att:8,8 l.#.up:9,8 l.#.down:8,9", "b.#.o:8,8 b.#.fc1:9,8 b.#.fc2:8,9"


@pytest.mark.parametrize(("ours", "theirs"), [(12, 6), (2, 3), (11, 10)])
def test_the_first_blocks(net, paired, ours, theirs):
    found = paired(net(f"emb:7,8 {deep(OURS, ours)} h:2,8"), net(f"wte:7,8 {deep(THEIRS, theirs)} o:2,8"))
    assert found == {
        "wte.weight": ("emb.weight",),
        "o.weight": ("h.weight",),
        **{
            f"b.{i}.{there}.weight": (f"l.{i}.{here}.weight",)
            for i in range(min(ours, theirs))
            for here, there in (("att", "o"), ("up", "fc1"), ("down", "fc2"))
        },
    }


def test_encoder_and_decoder_of_one_kind_are_not_guessed(net):
    ours = net(f"emb:7,8 {deep('enc.#.a:8,8 enc.#.b2:9,8', 3)} {deep('dec.#.a:8,8 dec.#.b2:9,8', 4)}")
    theirs = net(f"wte:7,8 {deep('x.#.c:8,8 x.#.d:9,8', 2)} {deep('y.#.c:8,8 y.#.d:9,8', 5)}")
    with pytest.raises(MatchError):
        match(ours, theirs)


def test_stages_with_another_first_block(net):
    """ResNet-50 into ResNet-101: a stage's first block is wider; the others are counted from the first."""
    ours = net(f"s:8,3 t.0.c:16,8 {deep('t.#.c:16,16', 4).replace('t.0.c:16,16 ', '')} h:2,16")
    theirs = net(f"i:8,3 g.0.k:16,8 {deep('g.#.k:16,16', 6).replace('g.0.k:16,16 ', '')} o:2,16")
    try:
        pairs = {pair.target: pair.source for pair in match(ours, theirs).pairs}
    except MatchError:
        return
    truth = {"i": "s", "o": "h"} | {f"g.{i}.k": f"t.{i}.c" for i in range(4)}
    assert pairs.items() <= {(f"{a}.weight", f"{c}.weight") for a, c in truth.items()}
