"""Convolutions of images over time and back, held against PyTorch's own convolutions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d, conv3d

from torchgraft import AdaptError
from torchgraft.adapting import Change, Deflated, Inflated, find_ops, op_from_json

WEIGHT = torch.randn(4, 3, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
IMAGE = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
frames_and_modes = given(frames=st.integers(1, 7), mode=st.sampled_from(["mean", "centre"]))


def still(frames: int) -> torch.Tensor:
    return IMAGE[:, :, None].repeat(1, 1, frames, 1, 1)


@frames_and_modes
def test_a_still_video_gives_what_the_image_gives(frames, mode):
    op = Inflated(frames, mode)
    wanted = conv2d(IMAGE, WEIGHT)[:, :, None]
    given_ = conv3d(still(frames + 2), op.apply(WEIGHT))
    torch.testing.assert_close(given_, wanted.expand_as(given_), rtol=1e-10, atol=1e-10)
    assert op.apply(WEIGHT).shape == op.shape(tuple(WEIGHT.shape))


def test_centre_sees_each_frame_on_its_own():
    video = torch.randn(1, 3, 5, 6, 6, dtype=torch.float64)
    weight = Inflated(3, "centre").apply(WEIGHT)
    given_ = conv3d(video, weight, padding=(1, 0, 0))
    for frame in range(5):
        torch.testing.assert_close(given_[:, :, frame], conv2d(video[:, :, frame], WEIGHT))


@frames_and_modes
def test_there_and_back(frames, mode):
    op = Inflated(frames, mode)
    new = op.apply(WEIGHT)
    torch.testing.assert_close(op.invert(new), WEIGHT)
    torch.testing.assert_close(Deflated(frames, "sum" if mode == "mean" else "centre").apply(new), WEIGHT)
    for step in (op, Deflated(frames)):
        assert op_from_json(step.to_json()) == step
        assert step.describe()
        assert step.effect


@pytest.mark.parametrize("mode", ["sum", "centre"])
def test_an_image_gives_what_a_still_video_gives(mode):
    weight = torch.randn(4, 3, 5, 3, 2, dtype=torch.float64)
    op = Deflated(5, mode)
    if mode == "sum":
        torch.testing.assert_close(conv2d(IMAGE, op.apply(weight)), conv3d(still(5), weight)[:, :, 0])
    trained = op.apply(weight) + 0.5
    back = op.invert(trained, weight)
    torch.testing.assert_close(op.apply(back), trained)
    torch.testing.assert_close(op.invert(op.apply(weight), weight), weight)
    with pytest.raises(AdaptError, match="how the frames differed is lost"):
        op.invert(trained)


def test_half_precision_is_divided_in_float32():
    new = Inflated(3).apply(WEIGHT.half())
    assert new.dtype == torch.float16
    assert torch.equal(new[:, :, 0], (WEIGHT.half().float() / 3).half())


@pytest.mark.parametrize(
    ("source", "target", "role", "steps"),
    [
        ((8, 3, 7, 7), (8, 3, 3, 7, 7), "stem", ["inflated over 3 frames, mean"]),
        (
            (8, 3, 7, 7),
            (8, 4, 3, 7, 7),
            "stem",
            ["inflated over 3 frames, mean", "input channels 3→4, repeat"],
        ),
        ((8, 8, 3, 3), (8, 8, 5, 3, 3), "body", ["inflated over 5 frames, mean"]),
        ((8, 8, 1, 1), (8, 8, 3, 1, 1), "body", ["inflated over 3 frames, mean"]),
        ((8, 8, 3, 3, 3), (8, 8, 3, 3), "body", ["3 frames made one, sum"]),
    ],
)
def test_found(source, target, role, steps):
    assert [op.describe() for op in find_ops(Change(source, target, role))] == steps


@pytest.mark.parametrize("target", [(8, 8, 3, 5, 5), (6, 8, 3, 3, 3), (8, 6, 3, 3, 3)])
def test_not_for_other_kernels_or_widths(target):
    with pytest.raises(AdaptError, match="no rule turns"):
        find_ops(Change((8, 8, 3, 3), target, "body"))


def test_refused():
    trained = Inflated(3).apply(WEIGHT)
    trained[0, 0, 0] += 1
    with pytest.raises(AdaptError, match="have been trained since"):
        Inflated(3).invert(trained)
    with pytest.raises(AdaptError, match="no mode 'max' for frames"):
        Inflated(3).with_mode("max")
    with pytest.raises(AdaptError, match="no mode 'mean' for frames"):
        Deflated(3).with_mode("mean")
    with pytest.raises(AdaptError, match="has not as many"):
        Deflated(3).apply(torch.rand(2, 2, 4, 1, 1))
    with pytest.raises(AdaptError, match="not the floating-point weight of a 2-D"):
        Inflated(3).apply(torch.rand(2, 2, 2))
    with pytest.raises(AdaptError, match="at least 1"):
        Inflated(0)
