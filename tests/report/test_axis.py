import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from torchgraft.report.page.axis import Axis

finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(finite, min_size=1, max_size=10))
def test_every_value_fits_and_ticks_are_even(values):
    axis = Axis(values)
    assert all(-1e-6 <= axis.at(value) <= 1 + 1e-6 for value in values)
    ticks = axis.ticks
    assert 1 <= len(ticks) <= 12
    gaps = [b - a for a, b in itertools.pairwise(ticks)]
    assert gaps == pytest.approx([axis.step] * len(gaps))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_shares_have_no_ticks_outside_of_0_and_1(values):
    axis = Axis(values, low=0.0, high=1.0)
    assert all(-1e-9 <= tick <= 1 + 1e-9 for tick in axis.ticks)
    assert all(-1e-6 <= axis.at(value) <= 1 + 1e-6 for value in values)


@given(st.lists(finite, min_size=2, max_size=10))
def test_ticks_read_as_what_they_are(values):
    assume(max(values) - min(values) > 1e-3)
    axis = Axis(values)
    texts = [axis.tick_text(tick) for tick in axis.ticks]
    assert len(set(texts)) == len(texts)
    assert [float(text.replace(",", "")) for text in texts] == pytest.approx(axis.ticks, abs=axis.step / 4)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.71, 0.91], ["70 %", "75 %", "80 %", "85 %", "90 %", "95 %"]),
        ([0, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"]),
    ],
)
def test_percent(values, texts):
    axis = Axis(values, low=0.0, high=1.0)
    assert [axis.tick_text(tick, percent=True) for tick in axis.ticks] == texts
