"""Tables over tokens: rows by token or number; new ones are what the formulas say, by numpy's word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchgraft import AdaptError
from torchgraft.adapting import Change, RowMap, Vocabulary, find_ops, match_tokens, op_from_json, with_mode
from torchgraft.planning.script_ops import spelled

TOKENS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)
MODES = ["mean-cov", "mean", "zeros", "own"]


@settings(max_examples=200, deadline=None)
@given(
    old=TOKENS, new=TOKENS, pads=st.tuples(st.integers(0, 3), st.integers(0, 3)), mode=st.sampled_from(MODES)
)
def test_rows_follow_their_tokens(old, new, pads, mode):
    if not set(old) & set(new):
        with pytest.raises(AdaptError, match="none of the"):
            match_tokens(old, new)
        return
    source = torch.randn(len(old) + pads[0], 2)
    base = torch.randn(len(new) + pads[1], 2)
    op = Vocabulary.of(match_tokens(old, new), len(source), len(base), mode=mode)
    made = op.apply(source, base)
    mean = source[: len(old)].mean(0)
    for place, token in enumerate([*new, *range(pads[1])]):
        if token in old:
            wanted = source[old.index(token)]
        elif isinstance(token, int) and token < pads[0]:
            wanted = source[len(old) + token]
        elif mode == "mean-cov":
            assert not torch.equal(made[place], base[place])
            continue
        else:
            wanted = {"mean": mean, "zeros": torch.zeros(2), "own": base[place]}[mode]
        torch.testing.assert_close(made[place], wanted, rtol=0, atol=1e-6 if mode == "mean" else 0)
    assert torch.equal(op.invert(made, source), source)
    assert op_from_json(op.to_json()) == op
    assert op.shape((len(source), 2)) == tuple(made.shape)
    assert op.carried + op.describe().count("new") <= len(base)


@pytest.mark.parametrize("new", [100, 2_000], ids=["drawn from all rows", "by their QR"])
@pytest.mark.parametrize("width", [(), (4,)], ids=["bias", "table"])
def test_new_rows_have_the_mean_and_a_share_of_the_covariance(new, width):
    """Over 200,000 rows of many seeds, both agree with numpy's to 1 % of the standard deviations."""
    old = 500 if new < 500 else 50
    width = width if new > 500 or not width else (200,)
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(old, *width, generator=generator, dtype=torch.float64)
    if len(width) and width[0] == 4:
        source = source @ torch.randn(4, 4, generator=generator, dtype=torch.float64) + 5
    drawn = []
    for seed in range(200_000 // new if width != (200,) else 40):
        op = Vocabulary.of(None, old, old + new, seed=seed)
        made = op.apply(source)
        assert torch.equal(made[:old], source)
        drawn.append(made[old:].reshape(new, -1))
    rows = torch.cat(drawn).numpy()
    flat = source.reshape(old, -1).numpy()
    wanted = np.atleast_2d(np.cov(flat.T, bias=True)) * 1e-5
    deviation = np.sqrt(np.diag(wanted))
    close = 0.01 if len(rows) > 100_000 else 0.1
    assert np.abs((rows.mean(0) - flat.mean(0)) / deviation).max() < close
    assert np.abs((np.atleast_2d(np.cov(rows.T)) - wanted) / np.outer(deviation, deviation)).max() < close


def test_what_is_drawn_is_the_same_again():
    source = torch.randn(20, 3)
    one, again, other = (Vocabulary.of(None, 20, 25, seed=seed).apply(source) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_mean_row_takes_little_from_the_others():
    """Hewitt's bound: the other tokens keep at least n/(n + k) of their probability; zeros take it all."""
    torch.manual_seed(0)
    head, inputs = torch.randn(50, 8), torch.randn(100, 8)
    head[:, 0], inputs[:, 0] = -5, 4  # all logits are about -20, as those of GPT-2 are about -100
    before = (inputs @ head.T).softmax(1)
    after = (inputs @ Vocabulary.of(None, 50, 60, mode="mean").apply(head).T).softmax(1)
    share = after[:, :50] / before
    assert float(share.min()) >= 50 / 60
    zeros = (inputs @ Vocabulary.of(None, 50, 60, mode="zeros").apply(head).T).softmax(1)
    assert float((zeros[:, :50] / before).max()) < 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision(dtype):
    """The mean of 10,000 half-precision rows is rounded once."""
    source = torch.full((10_000, 1), 0.1).to(dtype)
    op = Vocabulary.of(None, 10_000, 10_001, mode="mean")
    assert op.apply(source).dtype == dtype
    torch.testing.assert_close(
        op.apply(source)[-1], source[0], atol=0, rtol=1e-6 if dtype == torch.float32 else 0
    )
    own = Vocabulary.of(None, 10_000, 10_001, mode="own")
    assert own.apply(source, torch.full((10_001, 1), 0.3)).dtype == torch.float32
    assert own.needs_base
    assert not op.needs_base


@pytest.mark.parametrize("shape", [(6, 3), (6,)])
@pytest.mark.parametrize("mode", ["mean-cov", "mean", "zeros"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "op",
    [
        Vocabulary.of(None, 6, 9),
        Vocabulary.of(None, 6, 8),
        Vocabulary.of(None, 6, 4, mode="prefix"),
        Vocabulary.of(RowMap((None, 3, 3, None, 0, None), 5), 6, 8),
        Vocabulary.of(RowMap((5, 0, 1), 6), 6, 3),
    ],
    ids=lambda op: op.describe(),
)
def test_its_spelling_does_the_same(op, shape, mode, dtype):
    op = op.with_mode(mode) if op.mode != "prefix" else op
    w = torch.randn(shape).to(dtype)
    text = spelled(op, "w", shape, str(dtype).removeprefix("torch."))
    assert text is not None
    torch.testing.assert_close(eval(text), op.apply(w), rtol=1e-5, atol=1e-6)


def test_finding():
    def ops(source, target, rows=None, role="vocabulary", **modes):
        return find_ops(Change(source, target, role, modes, rows=rows))

    assert ops((5, 2), (5, 2)) == ()
    assert ops((5, 2), (5, 2), RowMap(tuple(range(5)), 5)) == ()
    (op,) = ops((5, 2), (7, 2))
    assert op.describe() == "vocabulary 5→7 by number, 5 carried, 2 new by mean-cov"
    (op,) = ops((5, 2), (4, 2), vocabulary="prefix")
    assert (op.runs, op.describe()) == (((0, 0, 4),), "vocabulary 5→4 by number, 4 carried")
    (op,) = ops((5,), (2,), RowMap((4, None), 5), vocabulary="zeros")
    assert op.describe() == "vocabulary 5→2 by token, 1 carried, 1 new by zeros"
    assert with_mode((op,), "own")[0].needs_base
    with pytest.raises(AdaptError, match="nobody knows which are left") as caught:
        ops((5, 2), (4, 2))
    assert "source_tokens=…" in str(caught.value)
    for wrong in (lambda: ops((5, 2), (7, 2), vocabulary="median"), lambda: op.with_mode("median")):
        with pytest.raises(AdaptError, match="no vocabulary mode 'median'"):
            wrong()
    with pytest.raises(AdaptError, match="no rule"):
        ops((5, 2), (7, 2), role="body")
    with pytest.raises(AdaptError, match="5 and 2 tokens don't fit tables of 4 and 2 rows"):
        ops((4, 2), (2, 2), RowMap((0, 1), 5))


@pytest.mark.parametrize(
    "arguments",
    [
        (((0, 0, 3),), 2, 3, "mean", 2),
        (((0, 0, 2), (1, 0, 1)), 2, 3, "mean", 2),
        (((2, 0, 2),), 2, 3, "mean", 2),
        (((0, -1, 1),), 2, 3, "mean", 2),
        (((0, 0, 1),), 2, 3, "mean", 3),
        (((0, 0, 1),), 2, 0, "mean", 2),
    ],
)
def test_what_can_not_be(arguments):
    with pytest.raises(AdaptError):
        Vocabulary(*arguments)


def test_shapes_are_checked_and_rows_that_were_dropped_must_come_from_somewhere():
    op = Vocabulary.of(None, 3, 2, mode="prefix")
    with pytest.raises(AdaptError, match="has not 3 rows"):
        op.apply(torch.ones(4, 2))
    with pytest.raises(AdaptError, match="nothing to take them from"):
        op.invert(torch.ones(2, 2))
    with pytest.raises(AdaptError, match=r"base has shape \[2, 2\]"):
        op.invert(torch.ones(2, 2), torch.ones(2, 2))
    with pytest.raises(AdaptError, match="nothing to take them from"):
        Vocabulary.of(None, 3, 4, mode="own").apply(torch.ones(3, 2))


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        (["a", "b"], ["b", "a", "c"], (1, 0, None)),
        (["a", None, "b"], ["b", None], (2, None)),
        (["a", "a", "b"], ["b", "x", "x"], (2, None, None)),
        (["a", "a"], ["a", "a"], (0, 1)),
    ],
)
def test_tokens(old, new, rows):
    assert match_tokens(old, new) == RowMap(rows, len(old))


@pytest.mark.parametrize(("old", "new"), [(["a", "a"], ["a"]), (["a"], ["a", "a", "b"])])
def test_a_token_that_is_there_twice_is_not_guessed(old, new):
    with pytest.raises(AdaptError, match="'a' is in a vocabulary twice"):
        match_tokens(old, new)
