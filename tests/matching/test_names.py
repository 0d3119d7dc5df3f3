"""Names that agree: as they are, or once a prefix is exchanged."""

from __future__ import annotations

import pytest

from torchgraft.errors import AmbiguousMatchError, MatchError
from torchgraft.matching import match
from torchgraft.tensors import Named

NET = [
    Named("conv1.weight", (8, 3, 3, 3)),
    Named("layer1.0.conv.weight", (8, 8, 3, 3)),
    Named("layer1.1.conv.weight", (8, 8, 3, 3)),
    Named("fc.weight", (10, 8)),
    Named("fc.bias", (10,)),
]


def under(prefix: str, tensors: list[Named] = NET) -> list[Named]:
    return [Named(prefix + t.name, t.shape, t.dtype) for t in tensors]


def reheaded(tensors: list[Named], classes: int) -> list[Named]:
    return [Named(t.name, (classes, *t.shape[1:]) if ".fc" in f".{t.name}" else t.shape) for t in tensors]


DEEP = [Named(t.name.replace("layer1.", "layer1._orig_mod."), t.shape) for t in NET]

CASES = [
    ("same", NET, NET, "exact names"),
    ("other head", NET, reheaded(NET, 4), "exact names"),
    ("other file order", NET[::-1], NET, "exact names"),
    ("more in the file", [*NET, Named("aux.weight", (5, 8))], NET, "exact names"),
    ("an EMA copy beside", [*NET, *under("ema.")], NET, "exact names"),
    ("data parallel", under("module."), NET, "prefix 'module.' removed"),
    ("data parallel target", NET, under("module."), "prefix 'module.' added"),
    ("two wrappers", under("module._orig_mod."), NET, "prefix 'module._orig_mod.' removed"),
    ("unknown prefix", under("xyz.net."), NET, "prefix 'xyz.net.' removed"),
    ("inside a larger model", NET, [*under("net."), *under("other.", NET[:2])], "prefix 'net.' added"),
    ("both sides", under("a.b."), under("c."), "prefix 'a.b.' → 'c.'"),
    ("prefix and other head", under("module."), reheaded(NET, 4), "prefix 'module.' removed"),
    ("compiled inside", DEEP, NET, "wrapper segments dropped"),
    ("compiled inside the model", NET, DEEP, "wrapper segments dropped"),
    ("compiled inside, prefixed", under("m.", DEEP), NET, "prefix 'm.' removed, wrapper segments dropped"),
]


def plain(name: str, prefix_words: set[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in prefix_words)


@pytest.mark.parametrize(("sources", "targets", "how"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_how(sources, targets, how):
    matching = match(sources, targets)
    assert matching.how == how
    added = {"module", "_orig_mod", "xyz", "net", "a", "b", "c", "m"}
    assert all(plain(pair.source, added) == plain(pair.target, added) for pair in matching.pairs)
    assert len(matching.pairs) == len(NET)
    assert {p.source for p in matching.pairs} | set(matching.unmatched_sources) == {s.name for s in sources}
    assert {p.target for p in matching.pairs} | set(matching.unmatched_targets) == {t.name for t in targets}


def test_a_pair_whose_shapes_differ_says_so():
    why = {pair.target: pair.why for pair in match(NET, reheaded(NET, 4)).pairs}
    assert "(10, 8) → (4, 8)" in why["fc.weight"]
    assert why["conv1.weight"] == "same name"


@pytest.mark.parametrize(
    ("sources", "targets", "both"),
    [
        (under("one.") + under("two."), NET, ["one.", "two."]),
        (under("net.one.") + under("net.two."), under("m."), ["one.", "two."]),
    ],
)
def test_branches_that_fit_equally_are_refused_and_the_hint_settles_it(sources, targets, both):
    with pytest.raises(AmbiguousMatchError) as caught:
        match(sources, targets)
    for branch in both:
        assert branch in caught.value.what
        assert branch in (caught.value.hint or "")
    rename = eval((caught.value.hint or "").split("rename=")[1].split("}")[0] + "}")
    settled = match(sources, targets, rename=rename)
    assert len(settled.pairs) == len(NET)
    assert all((both[0] in pair.source) or (both[0] in pair.target) for pair in settled.pairs)


@pytest.mark.parametrize(
    ("taken", "other"),
    [
        ("teacher.", "student."),
        ("encoder_q.", "encoder_k."),
        ("module.encoder_q.", "module.encoder_k."),
        ("online.", "target."),
        ("model.", "model_ema."),
        ("base.", "momentum."),
    ],
)
@pytest.mark.parametrize("renamed", [False, True])
def test_of_copies_the_one_that_is_evaluated_is_taken_and_the_other_noted(taken, other, renamed):
    targets = [Named(t.name.replace("conv", "c").replace("fc", "head"), t.shape) for t in NET]
    for sources in (under(taken) + under(other), under(other) + under(taken)):
        matching = match(sources, targets if renamed else NET)
        assert len(matching.pairs) == len(NET)
        assert all(pair.source.startswith(taken) for pair in matching.pairs)
        assert any(repr(other) in note and "rename=" in note for note in matching.notes)


@pytest.mark.parametrize("renamed", [False, True])
def test_one_source_goes_into_all_copies_of_the_model(renamed):
    sources = [Named(t.name.replace("conv", "c").replace("fc", "head"), t.shape) for t in NET]
    matching = match(sources if renamed else NET, under("left.") + under("right."))
    assert len(matching.pairs) == 2 * len(NET)
    assert matching.unmatched_targets == ()
    assert any("'left.', 'right.'" in note for note in matching.notes)


def test_a_branch_that_fits_less_well_is_noted():
    matching = match(under("model.") + under("ema.", NET[:-1]), NET)
    assert all(pair.source.startswith("model.") for pair in matching.pairs)
    assert any("'ema.' removed would fit 4 tensors" in note for note in matching.notes)


def test_a_larger_network_of_the_same_names_is_not_explained_by_names():
    wider = [Named(t.name, tuple(2 * s for s in t.shape)) for t in NET]
    with pytest.raises(MatchError, match="do not fit together"):
        match(NET, wider)


def test_some_names_by_chance_do_not_make_exact_names():
    foreign = [Named(f"x{i}.weight", (i + 2, 7)) for i in range(5)]
    with pytest.raises(MatchError, match="do not fit together") as caught:
        match([NET[3], *foreign], [*NET])
    assert "x0.weight [2, 7]" in caught.value.what
    assert "conv1.weight [8, 3, 3, 3]" in caught.value.what
    assert caught.value.hint


def test_exact_mode_takes_names_only():
    assert len(match([NET[3]], NET, mode="exact").pairs) == 1
    with pytest.raises(MatchError, match="no name occurs in both"):
        match(under("module."), NET, mode="exact")


def test_renamed_pairs_carry_the_files_own_names():
    matching = match(under("old."), NET, rename={"old.": ""})
    assert matching.how == "exact names"
    assert [pair.source for pair in matching.pairs] == [t.name for t in under("old.")]


@pytest.mark.parametrize(("sources", "targets"), [([], NET), (NET, [])])
def test_an_empty_side_is_named(sources, targets):
    with pytest.raises(MatchError, match="holds no tensors"):
        match(sources, targets)


def test_an_unknown_mode_lists_the_known_ones():
    with pytest.raises(MatchError, match="called 'fuzzy'") as caught:
        match(NET, NET, mode="fuzzy")
    assert "order" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "tensors",
    [
        NET,
        NET[::-1],
        [Named("h.0.c_attn.weight", (8, 24)), Named("h.0.c_attn.bias", (24,))],
        [Named("a.kernel", (3, 3, 4, 8)), Named("b.w", (4, 4)), Named("b.b", (4,))],
        [Named("attn.qkv.weight", (24, 8)), Named("attn.qkv.bias", (24,)), Named("weight", ())],
    ],
)
@pytest.mark.parametrize("mode", ["auto", "exact"])
def test_the_same_names_and_shapes_are_paired_as_if_they_were_looked_at(monkeypatch, tensors, mode):
    quick = match(tensors, NET if tensors[0] in NET else tensors, mode=mode)
    monkeypatch.setattr("torchgraft.matching.match_same", lambda *_: None)
    assert match(tensors, NET if tensors[0] in NET else tensors, mode=mode) == quick


def test_the_same_names_but_a_marked_layout():
    there = [Named("fc.weight", (8, 8), layout="IO"), Named("fc.bias", (8,))]
    [pair] = match(there, [Named("fc.weight", (8, 8)), Named("fc.bias", (8,))]).pairs[:1]
    assert pair.ops
