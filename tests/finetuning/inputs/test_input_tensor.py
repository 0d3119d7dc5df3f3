"""The oracle is timm's evaluation transform on the same PIL image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from torchgraft.finetuning.images.reading import read_picture
from torchgraft.finetuning.inputs.input_tensor import evaluation_input
from torchgraft.model_info import Preprocessing

SIZES = [(64, 48), (48, 64), (50, 50), (33, 97), (31, 31), (20, 90)]
IMAGENET = Preprocessing()


def smooth_photo(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def timms(image: Image.Image, how: Preprocessing) -> torch.Tensor:
    transform = create_transform(
        (how.channels, *how.size),
        is_training=False,
        interpolation=how.interpolation,
        crop_pct=how.crop,
        mean=how.mean,
        std=how.std,
        crop_mode="squash" if how.squash else "center",
    )
    return transform(image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("crop", [0.875, 1.0, 0.9])
@pytest.mark.parametrize("target", [(32, 32), (24, 40), (37, 37)])
@pytest.mark.parametrize("squash", [False, True])
def test_photos_become_what_timm_makes_of_them(size, interpolation, crop, target, squash):
    """Bit for bit: both resize with PIL; the model's mean and std follow."""
    image = smooth_photo(*size)
    how = replace(IMAGENET, size=target, crop=crop, interpolation=interpolation, squash=squash)
    ours = evaluation_input(image, how)
    assert ours.shape == (3, *target)
    torch.testing.assert_close(ours, timms(image, how), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_tensors_are_resized_as_photos_are(size, interpolation):
    """PyTorch's antialiased resize against PIL's, in shares of 1.

    PIL rounds to 1/255 after each of its two passes, and bicubic weights, whose absolute values sum
    to 1.27 at most, spread the first error: 0.5 · 1.27 + 0.5 = 1.14 of 1/255.
    """
    image = smooth_photo(*size)
    how = Preprocessing((24, 24), 0.875, interpolation, (0.0,) * 3, (1.0,) * 3)
    floats = read_picture(np.asarray(image) / np.float32(255), 3, where="it")
    assert isinstance(floats, torch.Tensor)
    difference = (evaluation_input(floats, how) - evaluation_input(image, how)).abs().max()
    assert difference <= 1.14 / 255


def test_grey_photos_for_a_grey_model():
    image = smooth_photo(64, 48).convert("L")
    how = replace(IMAGENET, size=(32, 32), mean=(0.4,), std=(0.3,))
    torch.testing.assert_close(evaluation_input(image, how), timms(image, how), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [2, 4])
def test_more_channels(channels):
    array = np.random.default_rng(0).integers(0, 256, (20, 20, channels), dtype=np.uint8)
    how = Preprocessing((20, 20), 1.0, "bilinear", (0.5,) * channels, (0.25,) * channels)
    expected = (array.transpose(2, 0, 1) / 255 - 0.5) / 0.25
    ours = evaluation_input(read_picture(array, channels, where="it"), how)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_nearest_takes_the_tensors_own_values(size):
    """Not compared with PIL: where two pixels are equally near, the libraries choose differently."""
    floats = torch.rand((1, *size), generator=torch.Generator().manual_seed(0))
    how = Preprocessing((24, 24), 0.875, "nearest", (0.0,), (1.0,))
    resized = evaluation_input(floats, how)
    assert torch.isin(resized, floats).all()
    assert len(resized.unique()) > 200
