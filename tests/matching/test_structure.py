"""Foreign names: what shapes, numbers, containers and words may decide, and what they may not."""

from __future__ import annotations

import random

import pytest

from torchgraft.errors import AmbiguousMatchError, MatchError
from torchgraft.matching import match
from torchgraft.tensors import Named


def net(text: str) -> list[Named]:
    """Tensors from `name:8,3,3,3 other:8` with `.weight` put on, unless the name has a known leaf."""
    tensors = []
    for word in text.split():
        name, _, shape = word.partition(":")
        leaf = name.rpartition(".")[2]
        known = leaf in {"bias", "gamma", "beta", "scale", "running_mean", "num_batches_tracked", "weight"}
        tensors.append(
            Named(name if known else f"{name}.weight", tuple(int(size) for size in shape.split(",") if size))
        )
    return tensors


def paired(sources: list[Named], targets: list[Named], **how: object) -> dict[str, str]:
    """Source → target, without the leaf `.weight`."""
    pairs = match(sources, targets, **how).pairs  # type: ignore[arg-type]
    return {p.source.removesuffix(".weight"): p.target.removesuffix(".weight") for p in pairs}


DECIDED = [
    ("shapes alone", "a:8,3 b:4,8", "x:4,8 y:8,3", "a>y b>x"),
    ("numbers", "l.0:8,8 l.1:8,8", "blocks.4:8,8 blocks.7:8,8", "l.0>blocks.4 l.1>blocks.7"),
    ("natural order", "l.9:8,8 l.10:8,8", "b2:8,8 b11:8,8", "l.9>b2 l.10>b11"),
    (
        "the file's order does not count",
        "l.1:8,8 l.0:8,8",
        "b.0:8,8 b.1:8,8",
        "l.0>b.0 l.1>b.1",
    ),
    (
        "stages against one list",
        "l.0.c:8,8 l.1.c:8,8 l.2.c:8,8",
        "s1.0.k:8,8 s1.1.k:8,8 s2.0.k:8,8",
        "l.0.c>s1.0.k l.1.c>s1.1.k l.2.c>s2.0.k",
    ),
    ("words", "att.query:8,8 att.key:8,8", "k_lin:8,8 q_lin:8,8", "att.query>q_lin att.key>k_lin"),
    (
        "a norm follows its block",
        "a.c:8,3 a.n:8 b.c:8,4 b.n:8",
        "y.m:8 y.k:8,4 x.m:8 x.k:8,3",
        "a.c>x.k a.n>x.m b.c>y.k b.n>y.m",
    ),
    (
        "a name learned where shapes decide",
        "r.0.main:8,4 r.0.side:8,4 r.1.main:8,8 r.2.side:4,8",
        "s.0.skip:8,4 s.0.body:8,4 s.1.body:8,8 s.2.skip:4,8",
        "r.0.main>s.0.body r.0.side>s.0.skip r.1.main>s.1.body r.2.side>s.2.skip",
    ),
    ("a new head", "a:8,3 b:6,8 fc:10,8", "x:8,3 y:6,8 cls:4,8", "a>x b>y fc>cls"),
    ("a new stem", "a:8,3,3,3 b:4,8", "x:8,1,3,3 y:4,8", "a>x b>y"),
    ("linear and 1×1 convolution", "a:8,3 b:10,8", "x:8,3 y:10,8,1,1", "a>x b>y"),
    ("old leaf names", "a:8,3 n.gamma:8 n.beta:8", "x:8,3 m.bias:8 m:8", "a>x n.gamma>m n.beta>m.bias"),
    (
        "a counter goes with its module",
        "a:8,3 n:8 n.num_batches_tracked: ",
        "x:8,3 m:8 m.num_batches_tracked:",
        "a>x n>m n.num_batches_tracked>m.num_batches_tracked",
    ),
    ("a counter that only one side has", "a:8,3 n:8", "x:8,3 m:8 m.num_batches_tracked:", "a>x n>m"),
]


@pytest.mark.parametrize(
    ("sources", "targets", "expected"), [c[1:] for c in DECIDED], ids=[c[0] for c in DECIDED]
)
def test_decided(sources, targets, expected):
    truth = dict(pair.split(">") for pair in expected.split())
    assert paired(net(sources), net(targets)) == truth
    assert paired(net(targets), net(sources)) == {target: source for source, target in truth.items()}


REFUSED = [
    ("siblings", "branch_a:8,8 branch_b:8,8 h:2,8", "left:8,8 right:8,8 o:2,8", ["branch_a", "right"]),
    ("numbers on one side", "c1:8,8 c2:8,8 h:2,8", "left:8,8 right:8,8 o:2,8", ["c1", "right"]),
    ("encoder and decoder", "a.0:8,8 b.0:8,8 h:2,8", "x.0:8,8 y.0:8,8 o:2,8", ["a.0", "y.0"]),
    ("three of them", "p:8,8 q:8,8 r:8,8 h:2,8", "x:8,8 y:8,8 z:8,8 o:2,8", ["p", "q"]),
    (
        "numbers against words",
        "c1.left:8,8 c2.right:8,8 h:2,8",
        "d1.right:8,8 d2.left:8,8 o:2,8",
        ["c1.left", "d1.right"],
    ),
    (
        "in every layer",
        "l.0.up:8,8 l.0.gate:8,8 l.1.up:8,8 l.1.gate:8,8 h:2,8",
        "b.0.w1:8,8 b.0.w3:8,8 b.1.w1:8,8 b.1.w3:8,8 o:2,8",
        ["l.0.up", "b.0.w3"],
    ),
    (
        "norms before and after",
        "l.0.fc:8,8 l.0.attn_norm:8 l.0.last_norm:8",
        "b.0.lin:8,8 b.0.ln_1:8 b.0.ln_2:8",
        ["attn_norm", "ln_1"],
    ),
]


@pytest.mark.parametrize(
    ("sources", "targets", "named"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_refused_and_the_hint_can_be_copied(sources, targets, named):
    ours, theirs = net(sources), net(targets)
    for seed in range(4):
        random.Random(seed).shuffle(ours)
        with pytest.raises(AmbiguousMatchError, match="two pairings fit equally well") as caught:
            match(ours, theirs)
    with pytest.raises(AmbiguousMatchError) as caught:
        match(net(sources), theirs)
    assert any(name in caught.value.what for name in named)
    hint = caught.value.hint or ""
    assert "--match order" in hint
    rules: dict[str, str] = {}
    for _ in range(4):  # a hint settles one tie; the next one may have its own
        rules |= eval(hint[hint.index("rename=") + 7 : hint.index("}") + 1])
        try:
            settled = match(net(sources), theirs, rename=rules)
        except AmbiguousMatchError as error:
            hint = error.hint or ""
            continue
        break
    assert len(settled.pairs) == len(theirs)


def test_letters_are_no_numbers():
    with pytest.raises(AmbiguousMatchError):
        match(net("q:8,8 k:8,8 v:8,8 h:2,8"), net("p0:8,8 p1:8,8 p2:8,8 o:2,8"))


def test_what_names_leave_is_paired_by_structure_where_it_agrees():
    matching = match(net("a:8,3 b:6,8 c.0:9,6 c.1:9,9"), net("a:8,3 b:6,8 d1:9,6 d3:9,9"))
    assert matching.how == "exact names, the rest by structure"
    assert {p.source: p.target for p in matching.pairs}["c.1.weight"] == "d3.weight"
    assert {p.source: p.why for p in matching.pairs}["a.weight"] == "same name"


def test_what_names_leave_stays_unpaired_where_it_is_tied():
    matching = match(net("a:8,3 b:6,8 c:9,9 d:9,9"), net("a:8,3 b:6,8 x:9,9 y:9,9"))
    assert matching.how == "exact names"
    assert matching.unmatched_targets == ("x.weight", "y.weight")
    assert any("two pairings fit equally well" in note for note in matching.notes)


def test_a_layer_beside_a_network_of_equal_names_is_not_taken_for_another():
    backbone = " ".join(f"l.{i}:8,{i + 1}" for i in range(20))
    matching = match(net(f"{backbone} aux:10,8"), net(f"{backbone} extra:10,8"))
    assert matching.unmatched_targets == ("extra.weight",)


def test_order_settles_siblings_only_and_only_when_asked():
    ours = net("l.10.up:8,8 l.10.gate:8,8 l.2.up:8,8 l.2.gate:8,8 h:2,8")
    theirs = net("b.0.w1:8,8 b.0.w3:8,8 b.1.w1:8,8 b.1.w3:8,8 o:2,8")
    assert paired(ours, theirs, mode="order") == {
        "l.2.up": "b.0.w1", "l.2.gate": "b.0.w3", "l.10.up": "b.1.w1", "l.10.gate": "b.1.w3", "h": "o"
    }  # fmt: skip


def test_order_does_not_overrule_shapes_or_words():
    ours = net("att.value:8,8 att.key:8,8 att.query:8,8 h:2,8")
    theirs = net("k_lin:8,8 q_lin:8,8 v_lin:8,8 o:2,8")
    assert paired(ours, theirs, mode="order")["att.query"] == "q_lin"


@pytest.mark.parametrize(("ours", "theirs"), [(6, 5), (3, 6)])
def test_of_a_model_of_another_depth_the_first_blocks_are_paired(ours, theirs):
    def deep(text: str, blocks: int) -> list[Named]:
        return net(" ".join(text.replace("#", str(i)) for i in range(blocks)))

    found = match(deep("l.#.c:8,8 l.#.n:8", ours), deep("b#.conv:8,8 b#.norm:8", theirs))
    both = min(ours, theirs)
    assert {(p.source, p.target) for p in found.pairs} == {
        pair
        for i in range(both)
        for pair in [(f"l.{i}.c.weight", f"b{i}.conv.weight"), (f"l.{i}.n.weight", f"b{i}.norm.weight")]
    }
    assert found.doubts == (f"'l' has {ours} blocks, 'b' of the model {theirs}: the first {both} are taken",)
    assert len(found.unmatched_sources) == 2 * (ours - both)
    assert len(found.unmatched_targets) == 2 * (theirs - both)


def test_stages_of_another_depth_whose_blocks_differ_are_not_guessed():
    ours = net(
        "l.0.c:8,4 l.1.c:8,8 l.2.c:8,8 l.0.n:8 l.1.n:8 l.2.n:8 s.0.c:16,8 s.0.n:16 s.1.c:16,16 s.1.n:16"
    )
    theirs = net("b.0.c:8,4 b.1.c:8,4 b.0.n:8 b.1.n:8 t.0.c:16,8 t.0.n:16 t.1.c:16,16 t.1.n:16")
    with pytest.raises(MatchError, match="do not fit together"):
        match(ours, theirs)


def test_another_architecture_is_told_from_a_tie():
    with pytest.raises(MatchError, match="do not fit together") as caught:
        match(net("a:8,8 b:8,8 c:7,7 d:6,6 e:5,5"), net("x:8,8 y:8,8 z:3,3 u:2,2 w:4,4"))
    assert not isinstance(caught.value, AmbiguousMatchError)


def test_integer_buffers_do_not_pass_for_weights():
    ours = [*net("a:8,3 b:4,8"), Named("steps", (8,), "int64")]
    theirs = net("x:8,3 y:4,8 z:6,4 u:7,6 s.scale:8")
    ours += net("c:6,4 d:7,6")
    matching = match(ours, theirs)
    assert matching.unmatched_sources == ("steps",)
    assert matching.unmatched_targets == ("s.scale",)


def test_every_pair_says_why():
    matching = match(net("l.0:8,8 l.1:8,8 q:4,4 k:4,4"), net("b2:8,8 b4:8,8 key:4,4 query:4,4"))
    why = {pair.source: pair.why for pair in matching.pairs}
    assert "number 2 of 2" in why["l.1.weight"]
    assert "q ~ query" in why["q.weight"]
    assert matching.how == "structure (names differ)"
