"""Patches of another size: timm and FlexiViT's own criterion are the oracles; back; flattened patches."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
import torch
from timm.layers import resample_patch_embed
from torch.nn import functional

from torchgraft import AdaptError
from torchgraft.adapting import Change, InputChannels, PatchKernel, find_ops, op_from_json
from torchgraft.adapting.places import PatchPlace

KERNEL = 0.1 * torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SIZES = [(16, 16), (4, 4), (8, 12), (6, 16), (7, 9)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pinv_is_timms(size, dtype):
    ours = PatchKernel((8, 8), size).apply(KERNEL.to(dtype))
    theirs = resample_patch_embed(KERNEL.to(dtype), list(size))
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)  # timm computes in float32


@pytest.mark.parametrize("size", [(16, 16), (8, 12), (9, 20)])
def test_an_enlarged_patch_gives_the_same_response(size):
    """FlexiViT, equation 4: ⟨x, w⟩ = ⟨Bx, ŵ⟩ for all patches x, where the patch grows."""
    patches = torch.randn(7, 3, 8, 8)
    enlarged = functional.interpolate(patches, size=size, mode="bicubic", antialias=True)
    before = functional.conv2d(patches, KERNEL).flatten(1)
    after = functional.conv2d(enlarged, PatchKernel((8, 8), size).apply(KERNEL)).flatten(1)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_naive_is_torchs(mode):
    op = PatchKernel((8, 8), (12, 16), mode)
    theirs = functional.interpolate(KERNEL, size=(12, 16), mode=mode, antialias=True)
    assert torch.equal(op.apply(KERNEL), theirs)


@pytest.mark.parametrize("mode", ["pinv", "bicubic", "bilinear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_grew_comes_back(mode, dtype):
    op = PatchKernel((8, 8), (16, 12), mode)
    kernel = KERNEL.to(dtype)
    back = op.invert(op.apply(kernel))
    torch.testing.assert_close(back, kernel, atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=0)
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op


def test_what_shrank_does_not():
    op = PatchKernel((8, 8), (4, 12))
    with pytest.raises(AdaptError, match="was larger"):
        op.invert(op.apply(KERNEL))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("size", [(12, 12), (4, 6)])
def test_flattened_patches(order, size):
    """A `Linear` over pixels in any order is the convolution with its axes moved."""
    flat = KERNEL.permute(0, *(1 + axis for axis in order)).flatten(1)
    op = PatchKernel((8, 8), size, order=order)
    expected = PatchKernel((8, 8), size).apply(KERNEL).permute(0, *(1 + axis for axis in order)).flatten(1)
    assert torch.equal(op.apply(flat), expected)
    assert op.shape(tuple(flat.shape)) == tuple(expected.shape)
    if size == (12, 12):
        torch.testing.assert_close(op.invert(expected), flat, atol=1e-5, rtol=0)


def test_found_by_its_place():
    place = PatchPlace((16, 16))
    change = Change((5, 3, 8, 8), (5, 4, 16, 16), "stem", {"patch-kernel": "bilinear"}, place=place)
    assert find_ops(change) == (PatchKernel((8, 8), (16, 16), "bilinear"), InputChannels(3, 4))
    flat = PatchPlace((16, 16), (1, 2, 0), 3)
    (op,) = find_ops(Change((5, 192), (5, 768), "stem", place=flat))
    assert op == PatchKernel((8, 8), (16, 16), "pinv", (1, 2, 0))
    assert op.describe() == "patch 8x8→16x16, pinv"
    with pytest.raises(AdaptError, match="no rule"):
        find_ops(Change((5, 3, 7, 7), (5, 3, 3, 3), "stem"))


def test_what_does_not_fit():
    with pytest.raises(AdaptError, match="a kernel of shape"):
        PatchKernel((8, 8), (4, 4)).apply(torch.rand(5, 3, 7, 7))
    with pytest.raises(AdaptError, match="dequantise"):
        PatchKernel((8, 8), (4, 4)).apply(torch.zeros(5, 3, 8, 8, dtype=torch.int8))
    with pytest.raises(AdaptError, match="no such mode"):
        PatchKernel((8, 8), (4, 4)).with_mode("mean")
