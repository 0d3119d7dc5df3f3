"""Several rows into one, held against the probabilities they stand for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from torchgraft import AdaptError
from torchgraft.adapting import Change, MergedRows, RowMap, find_ops, op_from_json


def seeded(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale


GROUPS = ((0, 2, 3), (1,), (4, 5))


def merged_head(weight, bias, mode):
    op = MergedRows(GROUPS, 6, mode)
    return op.apply(weight), op.apply(bias)


def probabilities(weight, bias, x):
    return torch.softmax(x @ weight.T + bias, dim=1)


def summed(weight, bias, x):
    old = probabilities(weight, bias, x)
    return torch.stack([old[:, list(group)].sum(1) for group in GROUPS], dim=1)


def test_sum_of_equal_rows_is_the_sum_of_their_probabilities():
    weight, bias, x = seeded(6, 4), seeded(6), seeded(10, 4)
    for group in GROUPS:
        weight[list(group)], bias[list(group)] = weight[group[0]].clone(), bias[group[0]].clone()
    new = probabilities(*merged_head(weight, bias, "sum"), x)
    torch.testing.assert_close(new, summed(weight, bias, x), rtol=1e-12, atol=1e-12)
    average = probabilities(*merged_head(weight, bias, "average"), x)
    assert (average - summed(weight, bias, x)).abs().max() > 0.05


def test_sum_is_never_above_and_near_where_rows_are_alike():
    """Jensen: the merged logit is at most log Σ exp; the gap is half the variance of the logits."""
    bias, x = seeded(6, scale=0.1), seeded(50, 4)
    for scale in (0.1, 0.3, 1.0):
        weight = seeded(6, 4, scale=scale)
        old = x @ weight.T + bias
        new_weight, new_bias = merged_head(weight, bias, "sum")
        new = x @ new_weight.T + new_bias
        for column, group in enumerate(GROUPS):
            gap = torch.logsumexp(old[:, list(group)], dim=1) - new[:, column]
            assert gap.min() >= -1e-12
            if scale == 0.1:
                half = old[:, list(group)].var(dim=1, correction=0) / 2
                torch.testing.assert_close(gap, half, rtol=0.2, atol=0.005)


def test_average_is_the_mean_of_the_scores():
    weight, bias, x = seeded(6, 4), seeded(6), seeded(10, 4)
    old = x @ weight.T + bias
    new_weight, new_bias = merged_head(weight, bias, "average")
    wanted = torch.stack([old[:, list(group)].mean(1) for group in GROUPS], dim=1)
    torch.testing.assert_close(x @ new_weight.T + new_bias, wanted)


def test_rows_of_unit_length_stay_so():
    weight = nn.functional.normalize(seeded(6, 4))
    new = MergedRows(GROUPS, 6).apply(weight)
    torch.testing.assert_close(new.norm(dim=1), torch.ones(3, dtype=torch.float64))
    wanted = nn.functional.normalize(weight[[0, 2, 3]].mean(0), dim=0)
    torch.testing.assert_close(new[0], wanted)
    assert torch.equal(new[1], weight[1]) or torch.allclose(new[1], weight[1], rtol=1e-15)


def test_half_precision_is_computed_in_float32():
    weight = seeded(6, 4).half()
    new = MergedRows(GROUPS, 6).apply(weight)
    assert new.dtype == torch.float16
    assert torch.equal(new[0], weight[[0, 2, 3]].float().mean(0).half())


def test_found_and_followed_by_the_new_order():
    rows = RowMap.of((None, (0, 2), 1), 3)
    ops = find_ops(Change((3, 4), (3, 4), "head", rows=rows))
    assert [op.describe() for op in ops] == [
        "2 rows merged into 1, sum",
        "rows 2→3 by class, 2 carried, 1 fresh",
    ]
    weight, base = seeded(3, 4), -seeded(3, 4)
    new = weight
    for op in ops:
        new = op.apply(new, base)
        assert op_from_json(op.to_json()) == op
    torch.testing.assert_close(new, torch.stack([base[0], weight[[0, 2]].mean(0), weight[1]]))
    bias = seeded(3)
    first, second = find_ops(Change((3,), (3,), "head", rows=rows))
    made = second.apply(first.apply(bias), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(
        made, torch.stack([bias.new_zeros(()), bias[[0, 2]].mean() + math.log(2), bias[1]])
    )


@pytest.mark.parametrize(
    ("modes", "described"),
    [
        ({"merged-rows": "average"}, ["average", "fresh"]),
        ({"rows": "mean"}, ["sum", "new by mean"]),
        ({"*": "mean"}, ["sum", "new by mean"]),
        ({"*": "average"}, ["average", "fresh"]),
    ],
)
def test_modes(modes, described):
    ops = find_ops(Change((3, 4), (2, 4), "head", modes, rows=RowMap.of(((0, 2), None), 3)))
    assert all(op.describe().endswith(word) for op, word in zip(ops, described, strict=True))


def test_refused():
    with pytest.raises(AdaptError, match="can't be undone"):
        MergedRows(GROUPS, 6).invert(seeded(3, 4))
    with pytest.raises(AdaptError, match="no classifier row 5"):
        MergedRows(GROUPS, 5)
    with pytest.raises(AdaptError, match="mode 'max'"):
        MergedRows(GROUPS, 6).with_mode("max")
    with pytest.raises(AdaptError, match="has not 6 rows"):
        MergedRows(GROUPS, 6).apply(seeded(5, 4))
    with pytest.raises(AdaptError, match="at least one row"):
        MergedRows(((0,), ()), 6)
