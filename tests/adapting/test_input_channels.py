"""Input channels N→M: timm as the oracle, and what each mode promises."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models import adapt_input_conv

from torchgraft import AdaptError
from torchgraft.adapting import Change, InputChannels, find_ops, op_from_json, parse_in_mode
from torchgraft.adapting.channel_weights import densified
from torchgraft.adapting.in_mode import normal_in_mode

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
    [
        ("sum", "sum"),
        ("R=0,G=1,NIR=mean", (0, 1, "mean")),
        ("keep-scale", "keep-scale"),
        ("0, 2,mean,zeros", (0, 2, "mean", "zeros")),
        ("mean,mean", ("mean", "mean")),
    ],
)
def test_modes_on_the_command_line(text, mode):
    assert parse_in_mode(text) == mode


@pytest.mark.parametrize("text", ["", "median", "0,-1", "0;1"])
def test_wrong_modes_on_the_command_line(text):
    with pytest.raises(AdaptError, match="use one of repeat, mean, sum, zeros"):
        parse_in_mode(text)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({"R": 0, "G": 1, "B": 2, "NIR": "mean"}, [WEIGHT[:, 0], WEIGHT[:, 1], WEIGHT[:, 2], MEAN]),
        ({"B": 2, "A": 0}, [WEIGHT[:, 2], WEIGHT[:, 0]]),
        (
            {"R": 0, "B": 2, "mixed": {"R": 0.5, "B": 2.0}},
            [WEIGHT[:, 0], WEIGHT[:, 2], WEIGHT[:, 0] * 0.5 + WEIGHT[:, 2] * 2],
        ),
        ([[0.25, 0.75], "zeros"], [WEIGHT[:, 0] * 0.25 + WEIGHT[:, 1] * 0.75, torch.zeros_like(MEAN)]),
        ([[1, 1, 1]], [WEIGHT.sum(1)]),
    ],
)
def test_maps_by_name_and_mixes(mode, expected):
    op = find_ops(Change((5, 3, 2, 2), (5, len(expected), 2, 2), "stem", {"input-channels": mode}))[0]
    torch.testing.assert_close(op.apply(WEIGHT), torch.stack(expected, 1))
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op
    assert op.describe()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ({"R": 0, "NIR": {"X": 1.0}}, "mixes 'X'"),
        ({}, "no input-channel mode"),
        ([[]], "can't hold"),
        ([[float("nan")]], "can't hold"),
        ([["a"]], "can't hold"),
        ([[0.1, 0.2, 0.3, 0.4]], "4 factors, more than"),
        ({"R": {}}, "mixes 'nothing'"),
    ],
)
def test_wrong_maps(mode, message):
    with pytest.raises(AdaptError, match=message):
        InputChannels(3, 1, normal_in_mode(mode))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
def test_keep_scale_keeps_the_variance_for_independent_channels(channels):
    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    new = InputChannels(3, channels, "keep-scale").apply(weight)
    torch.testing.assert_close(new.square().sum((1, 2, 3)), weight.square().sum((1, 2, 3)))
    noise = torch.randn(4000, channels, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    variance = torch.nn.functional.conv2d(noise, new).var(0).flatten()
    torch.testing.assert_close(variance, weight.square().sum((1, 2, 3)), rtol=0.12, atol=0)
    plain = InputChannels(3, 8, "mean").apply(weight).square().sum((1, 2, 3))
    assert (plain < 0.75 * weight.square().sum((1, 2, 3))).all()


@given(n=sizes, extra=st.integers(0, 5))
def test_keep_scale_there_and_back(n, extra):
    weight = torch.linspace(-1, 2, 2 * n).reshape(2, n, 1, 1)
    op = InputChannels(n, n + extra, "keep-scale")
    torch.testing.assert_close(op.invert(op.apply(weight)), weight, rtol=1e-5, atol=1e-6)


def test_filters_of_zeros_stay_zero():
    opposed = torch.tensor([[[1.0]], [[-1.0]]]).reshape(1, 2, 1)
    assert InputChannels(2, 1, "keep-scale").apply(opposed).eq(0).all()


def test_one_channel_is_spread_over_each_group():
    op = find_ops(Change((6, 1, 3, 3), (6, 2, 3, 3), "stem", groups=3))[0]
    weight = torch.rand(6, 1, 3, 3)
    image = torch.rand(1, 3, 5, 5)
    alike = image.repeat_interleave(2, dim=1)
    before = torch.nn.functional.conv2d(image, weight, groups=3)
    torch.testing.assert_close(torch.nn.functional.conv2d(alike, op.apply(weight), groups=3), before)


@given(
    groups=st.sampled_from([1, 2, 3]),
    each=st.integers(1, 3),
    filters=st.integers(1, 2),
    dims=st.integers(1, 3),
)
def test_a_grouped_convolution_as_a_dense_one(groups, each, filters, dims):
    weight = torch.rand(groups * filters, each, *(2,) * dims, dtype=torch.float64)
    image = torch.rand(2, groups * each, *(4,) * dims, dtype=torch.float64)
    conv = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}[dims]
    torch.testing.assert_close(conv(image, densified(weight, groups)), conv(image, weight, groups=groups))
