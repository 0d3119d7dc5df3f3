import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchgraft.report.quantities import compact, duration, mean_sd, memory, percent, plural


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (4_652_008, "4.65 M"),
        (999_499, "999 k"),
        (999_999, "1000 k"),
        (25_557_032, "25.6 M"),
        (7_000_000_000, "7 G"),
    ],
)
def test_compact(n, text):
    assert compact(n) == text


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (18_766_951, "17.9 MiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_memory(nbytes, text):
    assert memory(nbytes) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.5, "50.0 %"),
        (1e-9, "<0.1 %"),
        (0.99999, ">99.9 %"),
        (0.9994, "99.9 %"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text


@given(st.floats(0, 1))
def test_percent_is_whole_only_where_it_is_exact(share):
    assert (percent(share) == "100 %") == (share == 1)
    assert (percent(share) == "0 %") == (share == 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (12.34, "12.3 s"),
        (200.4, "3 min 20 s"),
        (59.99, "60.0 s"),
        (3600, "1 h 0 min"),
        (3599.9, "1 h 0 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1, "tensor"), "1 tensor"),
        ((0, "tensor"), "0 tensors"),
        ((1200, "class", "classes"), "1,200 classes"),
    ],
)
def test_plural(arguments, text):
    assert plural(*arguments) == text


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_mean_and_spread_are_numpys(values):
    mean, sd = mean_sd(values)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    assert sd == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_one_value_has_no_spread():
    mean, sd = mean_sd([0.5])
    assert mean == 0.5
    assert math.isnan(sd)
