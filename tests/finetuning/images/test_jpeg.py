"""The oracle is PIL's decoder."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from torchgraft.finetuning.images import jpeg
from torchgraft.finetuning.images.jpeg import decoded_size, jpeg_pixels

NOISE = np.random.default_rng(0).integers(0, 256, (45, 61, 3), dtype=np.uint8)


def written(mode="RGB", orientation=None, **options) -> bytes:
    file = io.BytesIO()
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][274] = orientation
    Image.fromarray(NOISE).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_those_of_pil(mode, subsampling, quality, progressive):
    data = written(mode, subsampling=subsampling, quality=quality, progressive=progressive)
    pixels = jpeg_pixels(data, opened(data))
    theirs = np.atleast_3d(np.asarray(opened(data)))
    assert pixels is not None
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), theirs)
    assert decoded_size(opened(data)) == (45, 61)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8, 0, 9])
def test_pixels_are_upright(orientation):
    data = written(orientation=orientation)
    pixels = jpeg_pixels(data, opened(data))
    theirs = np.asarray(ImageOps.exif_transpose(opened(data)))
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), theirs)
    assert decoded_size(opened(data)) == theirs.shape[:2]


def test_other_kinds_are_left_to_pil():
    cmyk = written("CMYK")
    assert jpeg_pixels(cmyk, opened(cmyk)) is None
    assert decoded_size(opened(cmyk)) is None
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "PNG")
    assert jpeg_pixels(file.getvalue(), opened(file.getvalue())) is None


def test_another_decoder_than_pils_is_not_used(monkeypatch):
    def rounded_otherwise(data, mode):
        return original(data, mode) ^ 1

    original = jpeg._decoded
    data = written()
    monkeypatch.setattr(jpeg, "_decoded", rounded_otherwise)
    jpeg._as_pil_does.cache_clear()
    try:
        assert jpeg_pixels(data, opened(data)) is None
    finally:
        jpeg._as_pil_does.cache_clear()


def damaged(data: bytes, seed: int) -> bytes:
    """Cut off, some bytes replaced, a piece taken out, or without its end."""
    random = np.random.default_rng(seed)
    broken = bytearray(data)
    if seed % 4 == 0:
        return bytes(broken[: random.integers(10, len(broken))])
    if seed % 4 == 1:
        for _ in range(5):
            broken[random.integers(0, len(broken))] = random.integers(0, 256)
        return bytes(broken)
    if seed % 4 == 2:
        start = random.integers(600, len(broken) - 50)
        del broken[start : start + random.integers(1, 40)]
        return bytes(broken)
    return bytes(broken[:-2])


@pytest.mark.parametrize("progressive", [False, True])
def test_the_cheap_check_fails_where_decoding_fails(progressive):
    """And simplejpeg, where it gives anything, gives what PIL gives."""
    data = written(quality=90, progressive=progressive)
    failed = 0
    for seed in range(120):
        broken = damaged(data, seed)
        theirs = outcome(lambda file=broken: np.asarray(opened(file).convert("RGB")))
        ours = outcome(lambda file=broken: decoded_size(opened(file)) or opened(file).load() or ())
        assert (theirs is None) == (ours is None), seed
        pixels = outcome(lambda file=broken: jpeg_pixels(file, opened(file)))
        if pixels is not None:
            assert theirs is not None, seed
            np.testing.assert_array_equal(pixels.permute(1, 2, 0).expand(-1, -1, 3).numpy(), theirs)
        failed += theirs is None
    assert 20 < failed < 120


def outcome(read):
    try:
        return read()
    except Exception:
        return None


def test_tensors_are_in_memory_that_may_be_written():
    data = written()
    pixels = jpeg_pixels(data, opened(data))
    assert pixels is not None
    assert pixels.dtype == torch.uint8
    pixels.add_(1)
