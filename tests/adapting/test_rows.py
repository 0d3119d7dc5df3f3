"""Classifier rows by class name, and Linear as a 1x1 convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchgraft import AdaptError
from torchgraft.adapting import Change, Pointwise, RowMap, Rows, find_ops, match_labels, op_from_json


@pytest.mark.parametrize(
    ("source", "target", "rows"),
    [
        (["a", "b"], ["b", "c", "a"], (1, None, 0)),
        (["Great White-shark"], ["great_white shark"], (0,)),
        (["tench, Tinca tinca", "goldfish"], ["tinca tinca", "Goldfish"], (0, 1)),
        (["crane, bird", "crane"], ["crane"], (1,)),
        (["crane", "crane", "x"], ["x"], (2,)),
        (["crane", "crane"], ["crane", "crane"], (0, 1)),
        (["a"], ["b"], (None,)),
    ],
)
def test_labels(source, target, rows):
    assert match_labels(source, target).rows == rows


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (["crane", "crane", "x"], ["crane"], "fits several classes"),
        (["a", "b"], ["c", "C"], "have the same name"),
        (["tench, Tinca tinca"], ["tench", "tinca tinca"], "both name"),
    ],
)
def test_unsure_labels(source, target, message):
    with pytest.raises(AdaptError, match=message):
        match_labels(source, target)


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=8))
def test_rows(rows):
    source = torch.arange(12.0).reshape(6, 2)
    base = -torch.arange(1.0, 2 * len(rows) + 1).reshape(-1, 2)
    op = Rows(tuple(rows), 6)
    new = op.apply(source, base)
    for place, row in enumerate(rows):
        assert torch.equal(new[place], base[place] if row is None else source[row])
    assert torch.equal(op.invert(new, source), source)
    assert op_from_json(op.to_json()) == op


def test_rows_without_a_source_need_a_base():
    with pytest.raises(AdaptError, match="1 of 2 rows have nothing"):
        Rows((0, None), 1).apply(torch.ones(1, 2))
    with pytest.raises(AdaptError, match="no classifier row 3"):
        Rows((3,), 2)
    assert Rows((0, None), 1).apply(torch.ones(1, 2).half(), torch.full((2, 2), 0.1)).dtype == torch.float32


def test_linear_as_convolution_with_other_classes():
    linear = torch.arange(6.0).reshape(3, 2)
    ops = find_ops(Change((3, 2), (2, 2, 1, 1), "head", rows=RowMap((2, 0), 3)))
    assert [op.name for op in ops] == ["pointwise", "rows"]
    new = linear
    for op in ops:
        new = op.apply(new)
    assert torch.equal(new, linear[[2, 0], :, None, None])
    assert torch.equal(Pointwise(0, 2).invert(new), new[:, :, 0, 0])
    assert all(op_from_json(op.to_json()) == op for op in ops)


@pytest.mark.parametrize(
    ("source", "target", "role", "message"),
    [
        ((3, 2, 3, 3), (3, 2), "head", "no rule"),
        ((3, 2), (4, 2), "body", "head="),
        ((3, 2), (4, 2), "head", "source_labels="),
        ((3, 2), (3, 5), "body", "stem="),
    ],
)
def test_no_rule(source, target, role, message):
    with pytest.raises(AdaptError, match=message):
        find_ops(Change(source, target, role))


@pytest.mark.parametrize(
    "data", [{"op": "eval"}, {}, {"op": "rows"}, {"op": "pointwise", "source": "x", "target": 1}]
)
def test_unreadable_ops(data):
    with pytest.raises(AdaptError):
        op_from_json(data)


def test_equal_shapes_need_nothing():
    assert find_ops(Change((3, 2), (3, 2), "body")) == ()
    assert find_ops(Change((3, 2), (3, 2), "head", rows=RowMap((0, 1, 2), 3))) == ()
    assert len(find_ops(Change((3, 2), (3, 2), "head", rows=RowMap((1, 0, 2), 3)))) == 1


OLD = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
OLD_BIAS = torch.randn(7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
INPUTS = 3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def grown(mode, new=1):
    op = Rows((*range(7), *(None,) * new), 7, mode)
    assert not op.needs_base
    assert op_from_json(op.to_json()) == op
    return op.apply(OLD), op.apply(OLD_BIAS)


def test_a_mean_row_has_at_most_its_share_whatever_the_input():
    weight, bias = grown("mean")
    torch.testing.assert_close(weight[7], OLD.mean(0))
    torch.testing.assert_close(bias[7], OLD_BIAS.mean())
    shares = torch.softmax(INPUTS @ weight.T + bias, dim=1)[:, 7]
    assert shares.max() <= 1 / 8


def test_a_zero_row_starts_low_for_every_input():
    weight, bias = grown("zeros", new=2)
    scores = INPUTS @ weight.T + bias
    assert torch.equal(weight[:7], OLD)
    assert (scores[:, 7:] == scores[0, 7]).all()
    assert scores[0, 7] == min(OLD_BIAS.min().item(), scores[0, 7].item())
    assert torch.sigmoid(scores[:, 7:]).max() <= 0.01 + 1e-12


def test_new_rows_have_the_old_ones_mean_and_covariance():
    weight, bias = grown("mean-cov", new=40_000)
    joint = torch.cat([weight[7:], bias[7:, None]], dim=1)
    old = torch.cat([OLD, OLD_BIAS[:, None]], dim=1)
    torch.testing.assert_close(joint.mean(0), old.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(torch.cov(joint.T), torch.cov(old.T), rtol=0, atol=0.05)
    assert torch.equal(grown("mean-cov")[0], grown("mean-cov")[0])


@pytest.mark.parametrize("mode", ["mean", "mean-cov"])
def test_rows_of_one_length_stay_so(mode):
    weight = 3 * torch.nn.functional.normalize(OLD)
    new = Rows((None, 2, None), 7, mode).apply(weight)
    torch.testing.assert_close(new.norm(dim=1), torch.full((3,), 3.0, dtype=torch.float64))
    assert torch.equal(new[1], weight[2])


def test_conv_heads_and_other_modes():
    conv = OLD[:, :, None, None]
    for mode in ("mean", "mean-cov", "zeros"):
        op = Rows((1, None), 7, mode)
        torch.testing.assert_close(op.apply(conv)[:, :, 0, 0], op.apply(OLD))
        assert op.effect
        assert op.describe().endswith(f"1 new by {mode}")
    assert Rows((1, None), 7).with_mode("mean").mode == "mean"
    with pytest.raises(AdaptError, match="no mode 'median'"):
        Rows((1, None), 7).with_mode("median")
    assert Rows.from_json({"op": "rows", "rows": [1], "source_rows": 7}).mode == "model"


def test_a_scale_that_all_classes_share_is_left_alone():
    rows = RowMap((1, 0), 2)
    assert find_ops(Change((1,), (1,), "head", rows=rows)) == ()
    assert find_ops(Change((), (), "head", rows=rows)) == ()
