"""Input channels N→M: timm as the oracle, and what each mode promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models import adapt_input_conv

from torchgraft import AdaptError
from torchgraft.adapting import Change, InputChannels, find_ops, op_from_json, parse_in_mode

WEIGHT = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
sizes = st.integers(1, 9)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_repeat_is_timms(channels, dtype):
    weight = WEIGHT.to(dtype)
    new = InputChannels(3, channels).apply(weight)
    assert torch.equal(new, adapt_input_conv(channels, weight))
    assert new.dtype == dtype


MEAN = WEIGHT.mean(1)


@pytest.mark.parametrize(
    ("mode", "channels", "expected"),
    [
        ("zeros", 4, [WEIGHT[:, 0], WEIGHT[:, 1], WEIGHT[:, 2], torch.zeros_like(MEAN)]),
        ("mean", 4, [WEIGHT[:, 0] * 0.75, WEIGHT[:, 1] * 0.75, WEIGHT[:, 2] * 0.75, MEAN * 0.75]),
        ("mean", 2, [MEAN * 1.5] * 2),
        ("sum", 2, [WEIGHT.sum(1) / 2] * 2),
        ((2, "mean", 0, "zeros"), 4, [WEIGHT[:, 2], MEAN, WEIGHT[:, 0], torch.zeros_like(MEAN)]),
    ],
)
def test_modes(mode, channels, expected):
    torch.testing.assert_close(InputChannels(3, channels, mode).apply(WEIGHT), torch.stack(expected, 1))


@given(n=sizes, m=sizes, mode=st.sampled_from(["mean", "sum"]))
def test_equal_channels_give_the_same_response(n, m, mode):
    weight = torch.linspace(-1, 2, 4 * n, dtype=torch.float64).reshape(4, n, 1)
    new = InputChannels(n, m, mode).apply(weight)
    torch.testing.assert_close(new.sum(1), weight.sum(1))


@given(
    n=sizes, extra=st.integers(0, 5), mode=st.sampled_from(["repeat", "mean", "zeros"]), linear=st.booleans()
)
def test_there_and_back(n, extra, mode, linear):
    weight = torch.linspace(-1, 2, 2 * n).reshape((2, n) if linear else (2, n, 1, 1))
    op = InputChannels(n, n + extra, mode)
    new = op.apply(weight)
    assert tuple(new.shape) == op.shape(tuple(weight.shape))
    torch.testing.assert_close(op.invert(new), weight)
    assert op_from_json(op.to_json()) == op


def test_what_was_merged_or_trained_does_not_come_back():
    with pytest.raises(AdaptError, match="merged or dropped"):
        InputChannels(3, 1).invert(WEIGHT[:, :1])
    op = InputChannels(3, 4, "zeros")
    new = op.apply(WEIGHT)
    new[0, 3] += 0.1
    with pytest.raises(AdaptError, match="trained since"):
        op.invert(new)


@pytest.mark.parametrize(
    ("mode", "channels", "message"),
    [
        ("zeros", 2, "can't remove"),
        ((0, 1), 4, "the map has 2 entries"),
        ((0, 1, 2, 3), 4, "no source channel 3"),
        ("repeat", 0, "at least 1"),
    ],
)
def test_refused(mode, channels, message):
    with pytest.raises(AdaptError, match=message):
        InputChannels(3, channels, mode)


def test_only_a_plain_stem_changes_channels():
    with pytest.raises(AdaptError, match="stem="):
        find_ops(Change((4, 3, 3, 3), (4, 5, 3, 3), "body"))
    with pytest.raises(AdaptError, match="2 groups"):
        find_ops(Change((4, 3, 3, 3), (4, 5, 3, 3), "stem", groups=2))
    with pytest.raises(AdaptError, match="dequantise"):
        InputChannels(3, 4).apply(torch.ones(2, 3, 1, 1, dtype=torch.int8))


@pytest.mark.parametrize(
    ("text", "mode"),
    [("sum", "sum"), ("0, 2,mean,zeros", (0, 2, "mean", "zeros")), ("mean,mean", ("mean", "mean"))],
)
def test_modes_on_the_command_line(text, mode):
    assert parse_in_mode(text) == mode


@pytest.mark.parametrize("text", ["", "median", "0,-1", "0;1"])
def test_wrong_modes_on_the_command_line(text):
    with pytest.raises(AdaptError, match="use one of repeat, mean, sum, zeros"):
        parse_in_mode(text)
