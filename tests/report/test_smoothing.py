import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchgraft.report.smoothing import smoothed, thinned

values = st.lists(st.floats(-100, 100), min_size=1, max_size=300)


@given(values, st.floats(1, 50))
def test_the_average_by_hand(values, span):
    keep = 1 - 2 / (span + 1)
    for n, found in enumerate(smoothed(values, span)):
        weights = [keep ** (n - i) for i in range(n + 1)]
        expected = sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights)
        assert found == pytest.approx(expected, abs=1e-6)


def test_a_constant_stays_and_gaps_stay():
    assert smoothed([2.0] * 5, 10) == pytest.approx([2.0] * 5)
    found = smoothed([1.0, math.nan, 3.0, math.inf], 1)
    assert found[0] == 1
    assert math.isnan(found[1])
    assert found[2] == 3
    assert math.isnan(found[3])


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=2000), st.integers(10, 300))
def test_few_points_and_no_spike_is_lost(values, most):
    at, kept = thinned(range(len(values)), values, most)
    assert len(at) == len(kept) <= max(len(values) if len(values) <= most else 0, most + 4)
    assert list(at) == sorted(set(at))
    assert all(kept[i] == values[place] or math.isnan(kept[i]) for i, place in enumerate(at))
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        assert max(finite) in kept
        assert min(finite) in kept
